"""Rows of a memory plan, by arithmetic: torch-free, before anything is loaded. Formulas: docs/memory.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rlhf_engine.activations import FLOAT32, Batch, decoding_bytes, forward_bytes
from rlhf_engine.adapter_sizes import adapted_parameters
from rlhf_engine.config import LoraConfig
from rlhf_engine.config.sections import PrecisionConfig
from rlhf_engine.known_models import ModelShape
from rlhf_engine.ranked_plan.placing import NOTHING, Placed

BFLOAT16 = 2
FRAMEWORK_BYTES = 512 * 2**20
"""CUDA context and library workspaces; on a CPU, about what torch and transformers occupy."""
LOGIT_CHUNK_BYTES = 32 * 2**20
"""Largest fp32 logits that exist at once; a test holds it equal to `logprobs.CHUNK_BYTES`."""
PROMPT_TOKENS_AT_ONCE = 32768
"""Tokens of prompts that decoding reads at once on a GPU; a test holds it equal to decoding's."""
ALWAYS = "always"
PEAK = "peak"


class MemoryRow(NamedTuple):
    """`bytes` that `what` needs at the busiest moment of `phase`; rows of phase "always" stay through all phases."""

    what: str
    phase: str
    bytes: int


Moment = Sequence[MemoryRow]
"""What is needed at one time, beyond what stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRole:
    """A role whose loss goes backwards: `placed` are its own tensors, `backbone` another role's that it stands on.

    `logit_chunks`: copies of a chunk of logits that the loss makes; 0 where it does not read the output head. `values`:
    it reads scalar heads.
    """

    name: str
    shape: ModelShape
    placed: Placed
    gradient_checkpointing: bool
    backbone: Placed | None = None
    lora: LoraConfig | None = None
    logit_chunks: int = 2
    values: bool = False

    @property
    def gathers(self) -> Placed:
        """Whose tensors its passes gather."""
        return self.backbone or self.placed


def compute_bytes(precision: PrecisionConfig) -> int:
    """Bytes of one number in matrix products."""
    return FLOAT32 if precision.compute == "float32" else BFLOAT16


def total(rows: Iterable[MemoryRow]) -> int:
    """Bytes of all the rows."""
    return sum(row.bytes for row in rows)


def busiest(moments: Sequence[Moment]) -> list[MemoryRow]:
    """The moment that needs most."""
    return list(max(moments, key=total))


def with_peak(rows: Sequence[MemoryRow]) -> list[MemoryRow]:
    """The rows and the peak: what stays, and the phase that needs most on top of it."""
    phases: dict[str, int] = {}
    for row in rows:
        phases[row.phase] = phases.get(row.phase, 0) + row.bytes
    always = phases.pop(ALWAYS, 0)
    highest = max(phases, key=phases.__getitem__)
    return [row for row in rows if row.bytes] + [MemoryRow(PEAK, highest, always + phases[highest])]


def framework() -> MemoryRow:
    """What torch itself occupies."""
    return MemoryRow("framework", ALWAYS, FRAMEWORK_BYTES)


def weights(what: str, parameters: int, phase: str = ALWAYS) -> MemoryRow:
    """fp32 weights."""
    return MemoryRow(f"weights: {what}", phase, FLOAT32 * parameters)


def held(what: str, placed: Placed) -> MemoryRow:
    """fp32 weights of a role, or this rank's share of them."""
    return MemoryRow(f"weights: {what}", ALWAYS, placed.weights)


def moments(role: TrainedRole) -> MemoryRow:
    """Adam's two."""
    return MemoryRow(f"Adam moments: {role.name}", ALWAYS, role.placed.moments)


def gradients(role: TrainedRole, phase: str) -> MemoryRow:
    """fp32, of the weights that change, or of this rank's share of them."""
    return MemoryRow(f"gradients: {role.name}", phase, role.placed.gradients)


def gathered(phase: str, count: int, name: str = "") -> MemoryRow:
    """Weights that are gathered from all ranks for a while."""
    return MemoryRow(f"gathered weights: {name or 'passing'}", phase, count)


def merged_weights(role: TrainedRole) -> list[MemoryRow]:
    """What writing a checkpoint of an adapted model needs: its adapted layers with the adapters merged."""
    if role.lora is None:
        return []
    return [
        MemoryRow(f"merged weights: {role.name}", "checkpoint", FLOAT32 * adapted_parameters(role.shape, role.lora))
    ]


def compute_copies(role: str, shape: ModelShape, number: int, phase: str, *, blocks: int) -> MemoryRow:
    """bf16 copies of the weights of so many blocks, which autocast makes for matrix products and may keep."""
    copied = BFLOAT16 * blocks * shape.block_parameters if number == BFLOAT16 else 0
    return MemoryRow(f"bf16 copies: {role}", phase, copied)


def forward_rows(
    shape: ModelShape,
    batch: Batch,
    number: int,
    phase: str,
    *,
    role: str = "",
    lora: LoraConfig | None = None,
    entropies: bool = False,
    gathers: Placed = NOTHING,
) -> list[MemoryRow]:
    """A forward without gradient and then the head's logits, if `batch.read` says that it is asked.

    Autocast keeps the copies of weights that are trained, those of `role` without `lora`; others live for one product.
    `gathers`: the model whose sharded weights the forward needs.
    """
    copied = shape.layers if role and lora is None and not gathers.in_bf16 else 0
    copies = compute_copies(role, shape, number, phase, blocks=copied)
    trunk = MemoryRow("activations: passing", phase, forward_bytes(shape, batch, number, lora=lora))
    states = MemoryRow("activations: passing", phase, FLOAT32 * shape.hidden * (batch.size + batch.rows * batch.read))
    logits = MemoryRow("logits: one chunk", phase, chunk_bytes(shape, batch, number, copies=3 if entropies else 2))
    blocks, root = (gathered(phase, count) for count in (gathers.gathered_passing, gathers.gathered_kept))
    return busiest([[copies, blocks, trunk], [copies, root, states, logits] if batch.read else []])


def sampling_rows(
    shape: ModelShape,
    batch: Batch,
    number: int,
    phase: str,
    *,
    samples_per_prompt: int = 1,
    gathers: Placed = NOTHING,
) -> list[MemoryRow]:
    """Reading the prompts, or the distribution of one of `batch.read` new tokens; weights once more, and the cache.

    Sharded weights are gathered for the whole phase.
    """
    prompts = batch.tokens - batch.read
    different = -(-batch.rows // samples_per_prompt)
    rows_at_once = min(different, max(PROMPT_TOKENS_AT_ONCE // max(prompts, 1), 1))
    laid_out = number * (shape.layers * shape.block_parameters + shape.vocabulary * shape.hidden)
    held = [
        gathered(phase, gathers.gathered_whole),
        MemoryRow("weights laid out for decoding", phase, laid_out),
        MemoryRow("KV cache", phase, 2 * number * shape.layers * shape.kv_width * batch.size),
    ]
    reading = rows_at_once * prompts * decoding_bytes(shape, number)
    distribution = batch.rows * shape.vocabulary * (number + 2 * FLOAT32)
    return busiest(
        [
            [*held, MemoryRow("activations: passing", phase, reading)],
            [*held, MemoryRow("next-token distribution", phase, distribution)],
        ]
    )


def chunk_bytes(shape: ModelShape, batch: Batch, number: int, *, copies: int) -> int:
    """One chunk of logits `copies` times over, and with bf16 a copy of the output head."""
    row = FLOAT32 * shape.vocabulary
    chunk = row * min(batch.rows * batch.read, max(LOGIT_CHUNK_BYTES // row, 16))
    return copies * chunk + (BFLOAT16 * shape.vocabulary * shape.hidden if number == BFLOAT16 else 0)
