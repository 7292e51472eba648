"""Rows of a memory plan, by arithmetic: torch-free, before anything is loaded. Formulas: docs/memory.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rlhf_engine.activations import backward_buffer_bytes, forward_bytes, saved_bytes
from rlhf_engine.config import LoraConfig, TrainerConfig
from rlhf_engine.known_models import ModelShape

FLOAT32, BFLOAT16 = 4, 2
ADAM_MOMENTS = 2 * FLOAT32
FRAMEWORK_BYTES = 512 * 2**20
"""CUDA context and library workspaces; on a CPU, about what torch and transformers occupy."""
LOGIT_CHUNK_BYTES = 32 * 2**20
"""Largest fp32 logits that exist at once; a test holds it equal to `logprobs.CHUNK_BYTES`."""
ALWAYS = "always"


class MemoryRow(NamedTuple):
    """`bytes` that `what` needs in `phase`; rows of phase "always" stay through all phases."""

    what: str
    phase: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of so many tokens that pass through a model at once."""

    rows: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRole:
    """A role whose loss goes backwards: `parameters` take part in its forward, `trained` of them change."""

    name: str
    shape: ModelShape
    parameters: int
    trained: int
    gradient_checkpointing: bool
    lora: LoraConfig | None = None


def compute_bytes(config: TrainerConfig) -> int:
    """Bytes of one number in matrix products."""
    return FLOAT32 if config.precision.compute == "float32" else BFLOAT16


def with_peak(rows: Sequence[MemoryRow]) -> list[MemoryRow]:
    """The rows and the peak: what stays, and the phase that needs most on top of it."""
    phases: dict[str, int] = {}
    for row in rows:
        phases[row.phase] = phases.get(row.phase, 0) + row.bytes
    always = phases.pop(ALWAYS, 0)
    highest = max(phases, key=phases.__getitem__)
    return [row for row in rows if row.bytes] + [MemoryRow("peak", highest, always + phases[highest])]


def framework() -> MemoryRow:
    """What torch itself occupies."""
    return MemoryRow("framework", ALWAYS, FRAMEWORK_BYTES)


def weights(what: str, parameters: int, phase: str = ALWAYS) -> MemoryRow:
    """fp32 weights."""
    return MemoryRow(f"weights: {what}", phase, FLOAT32 * parameters)


def moments(role: TrainedRole) -> MemoryRow:
    """Adam's two."""
    return MemoryRow(f"Adam moments: {role.name}", ALWAYS, ADAM_MOMENTS * role.trained)


def update_rows(
    config: TrainerConfig, roles: Sequence[TrainedRole], batch: Batch, *, logits: bool = True
) -> list[MemoryRow]:
    """Gradients, bf16 copies and activations of the roles whose losses go backwards together; `logits`: of the first
    role, whose logits are gone before the gradients of its blocks' activations come.
    """
    number = compute_bytes(config)
    rows = []
    for role in roles:
        saved = saved_bytes(
            role.shape,
            batch.rows,
            batch.tokens,
            number,
            gradient_checkpointing=role.gradient_checkpointing,
            lora=role.lora,
        )
        rows += [
            MemoryRow(f"gradients: {role.name}", "update", FLOAT32 * role.trained),
            compute_copies(role.name, role.parameters, number, "update"),
            MemoryRow(f"activations: {role.name}", "update", saved),
        ]
    buffers = [backward_buffer_bytes(role.shape, batch.rows, batch.tokens, number) for role in roles]
    passing = [MemoryRow("backward buffers", "update", max(buffers))]
    if logits:
        passing.append(MemoryRow("logits: one chunk", "update", chunk_bytes(roles[0].shape, number, backward=True)))
        if roles[0].lora is None:
            rows.append(_head_gradient(roles[0].shape, number))
    return [*rows, max(passing, key=lambda row: row.bytes)]


def compute_copies(role: str, parameters: int, number: int, phase: str) -> MemoryRow:
    """Under autocast a forward and its backward keep a bf16 copy of each fp32 weight."""
    return MemoryRow(f"bf16 copies: {role}", phase, BFLOAT16 * parameters if number == BFLOAT16 else 0)


def sampling_rows(shape: ModelShape, batch: Batch, number: int, phase: str) -> list[MemoryRow]:
    """Key-value cache, one block's activations while the prompts are read, and the next-token distribution."""
    cache = 2 * number * shape.layers * shape.kv_width * batch.rows * batch.tokens
    distribution = batch.rows * shape.vocabulary * (number + 3 * FLOAT32)
    return [
        MemoryRow("KV cache", phase, cache + 2 * cache // shape.layers),
        MemoryRow("activations: forward", phase, forward_bytes(shape, batch.rows, batch.tokens, number)),
        MemoryRow("next-token distribution", phase, distribution),
    ]


def chunk_bytes(shape: ModelShape, number: int, *, backward: bool) -> int:
    """One chunk of logits and its scratch: probabilities and products, or backward in fp32 the logits' gradient."""
    copies = BFLOAT16 * shape.vocabulary * shape.hidden if number == BFLOAT16 else 0
    return (2 if backward and number == FLOAT32 else 3) * LOGIT_CHUNK_BYTES + copies


def _head_gradient(shape: ModelShape, number: int) -> MemoryRow:
    """The output head's gradient on its way: its sum over chunks, and one chunk's."""
    share = 2 * FLOAT32 + (number if number == BFLOAT16 else 0)
    return MemoryRow("output head's gradient", "update", share * shape.vocabulary * shape.hidden)
