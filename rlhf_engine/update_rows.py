"""What an update needs, followed through forward, backward and the optimizer step. Torch-free; docs/memory.md.

Losses go backwards in the opposite order of the forwards: while the last role's gradients pass, the activations of all
are still there; while the first one's pass, its own alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlhf_engine.activations import (
    FLOAT32,
    Batch,
    backward_bytes,
    passing_bytes,
    recomputed_bytes,
    saved_bytes,
)
from rlhf_engine.memory_rows import (
    MemoryRow,
    Moment,
    TrainedRole,
    busiest,
    chunk_bytes,
    compute_copies,
    gathered,
    gradients,
)

FORWARD, BACKWARD, OPTIMIZER = "forward", "backward", "optimizer"


@dataclass(frozen=True, slots=True)
class Update:
    """Roles in the order of their forwards, one micro-batch, bytes of a number in matrix products.

    `accumulated`: gradients of earlier micro-batches are there, as in every optimizer step of more than one. `before`:
    what another model's forward without gradient needs at the beginning of the phase "forward".
    """

    roles: Sequence[TrainedRole]
    batch: Batch
    number: int
    accumulated: bool
    before: Sequence[MemoryRow] = ()


def update_rows(update: Update) -> list[MemoryRow]:
    """Rows of the three phases, each at its busiest moment."""
    optimizer = [gradients(role, OPTIMIZER) for role in update.roles]
    bucket = max(role.placed.bucket for role in update.roles)
    optimizer.append(MemoryRow("bucket of gradients", OPTIMIZER, bucket))
    return [*busiest(_forward_moments(update)), *busiest(_backward_moments(update)), *optimizer]


def _forward_moments(update: Update) -> list[Moment]:
    earlier = [gradients(role, FORWARD) for role in update.roles] if update.accumulated else []
    found: list[Moment] = [[*earlier, *update.before]]
    for index, role in enumerate(update.roles):
        held = [row for kept in update.roles[: index + 1] for row in _kept(kept, update, FORWARD)]
        held += [_copies(kept, update, FORWARD, _blocks_copied(kept)) for kept in update.roles[: index + 1]]
        held += [gathered(FORWARD, kept.gathers.gathered_kept, kept.name) for kept in update.roles[: index + 1]]
        inside = passing_bytes(role.shape, update.batch, update.number, lora=role.lora)
        inside *= role.gradient_checkpointing
        blocks = gathered(FORWARD, role.gathers.gathered_passing - role.gathers.gathered_kept)
        found.append([*earlier, *held, blocks, MemoryRow("activations: passing", FORWARD, inside)])
        if role.logit_chunks:
            chunk = chunk_bytes(role.shape, update.batch, update.number, copies=role.logit_chunks)
            found.append([*earlier, *held, MemoryRow("logits: one chunk", FORWARD, chunk)])
    return found


def _backward_moments(update: Update) -> list[Moment]:
    found: list[Moment] = []
    for index in reversed(range(len(update.roles))):
        role, before = update.roles[index], update.roles[:index]
        done = update.roles if update.accumulated else update.roles[index + 1 :]
        held = [gradients(other, BACKWARD) for other in done]
        held += [row for other in before for row in _kept(other, update, BACKWARD)]
        held += [_copies(other, update, BACKWARD, _blocks_kept(other)) for other in before]
        held += [gathered(BACKWARD, other.gathers.gathered_kept, other.name) for other in before]
        found += [[*held, *moment] for moment in _role_moments(role, update)]
    return found


def _role_moments(role: TrainedRole, update: Update) -> list[Moment]:
    """A role's own backward pass: its head, its last block, and its embeddings, when all its gradients are there.

    Of sharded weights, gradients of a block are summed over ranks when it has passed.
    """
    shape, batch, number = role.shape, update.batch, update.number
    kept = _kept(role, update, BACKWARD)
    head_gradient = FLOAT32 * shape.vocabulary * shape.hidden if role.logit_chunks and role.lora is None else 0
    waits = shape.tied or role.placed.unsummed_root
    waiting = MemoryRow("output head's gradient", BACKWARD, head_gradient if waits else 0)
    passing = backward_bytes(shape, batch, number, lora=role.lora) + FLOAT32 * shape.hidden * batch.size
    weights, placed = role.gathers, role.placed
    block = recomputed_bytes(shape, batch, number, lora=role.lora) if role.gradient_checkpointing else 0
    last_block = [
        *kept,
        _copies(role, update, BACKWARD, _blocks_kept(role) or 1),
        MemoryRow(f"recomputed block: {role.name}", BACKWARD, block),
        MemoryRow("gradients: passing", BACKWARD, passing),
        gathered(BACKWARD, weights.gathered_backward, role.name),
        MemoryRow("gradients: passing", BACKWARD, placed.block_gradients),
        waiting,
    ]
    summing = [
        *(row._replace(bytes=row.bytes * (shape.layers - 1) // shape.layers) for row in kept),
        gathered(BACKWARD, weights.gathered_backward, role.name),
        MemoryRow("gradients: passing", BACKWARD, placed.unsummed_block),
        waiting,
    ]
    embeddings = [MemoryRow("gradients: passing", BACKWARD, placed.unsummed_root or _embedding_gradient(role))]
    if not placed.unsummed_root:
        embeddings.append(waiting)
    if not update.accumulated:
        embeddings.append(gradients(role, BACKWARD))
    if not role.logit_chunks:
        return [last_block, summing, embeddings]
    head = [
        *kept,
        _copies(role, update, BACKWARD, _blocks_kept(role)),
        MemoryRow("logits: one chunk", BACKWARD, chunk_bytes(shape, batch, number, copies=role.logit_chunks)),
        MemoryRow("gradients: passing", BACKWARD, FLOAT32 * shape.hidden * batch.rows * batch.read),
        MemoryRow("output head's gradient", BACKWARD, head_gradient * (1 + (number < FLOAT32))),
        gathered(BACKWARD, weights.gathered_kept, role.name),
    ]
    return [head, last_block, summing, embeddings]


def _kept(role: TrainedRole, update: Update, phase: str) -> list[MemoryRow]:
    """Activations, and the states that the heads read: with an MLP what each head keeps of them as well."""
    shape, batch = role.shape, update.batch
    saved = saved_bytes(shape, batch, update.number, gradient_checkpointing=role.gradient_checkpointing, lora=role.lora)
    read = FLOAT32 * shape.hidden * batch.rows * batch.read
    heads = (role.logit_chunks > 0) + role.values + (2 * shape.score_heads if role.values and shape.mlp_heads else 0)
    return [MemoryRow(f"activations: {role.name}", phase, saved + heads * read)]


def _copies(role: TrainedRole, update: Update, phase: str, blocks: int) -> MemoryRow:
    return compute_copies(role.name, role.shape, update.number, phase, blocks=0 if role.gathers.in_bf16 else blocks)


def _blocks_copied(role: TrainedRole) -> int:
    """Blocks that have bf16 copies at the end of the forward: those kept, and all where weights are trained."""
    return role.shape.layers if role.lora is None else _blocks_kept(role)


def _blocks_kept(role: TrainedRole) -> int:
    """Blocks whose bf16 copies the forward leaves to the backward pass."""
    return 0 if role.gradient_checkpointing else role.shape.layers


def _embedding_gradient(role: TrainedRole) -> int:
    return FLOAT32 * role.shape.vocabulary * role.shape.hidden if role.lora is None else 0
