"""Bytes that one rank sends to the others in each phase of a step. Torch-free; formulas: docs/scaling_on_paper.md.

Collectives as rings: an all-reduce of S bytes sends 2 (n - 1) / n S, a gather or reduce-scatter to or from n shares of
s bytes (n - 1) s, and so does a rank's part in broadcasts of s bytes from every rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rlhf_engine.ranked_plan.placing import FLOAT32, Placed
from rlhf_engine.ranked_plan.tensors import numbers

FORWARD, BACKWARD, OPTIMIZER = "forward", "backward", "optimizer"
GATHERS, SUMS, JOINS, FROM_HOST = "weights", "gradients", "rows", "from the host"


class Sent(NamedTuple):
    """`bytes` of `what` that a rank sends in `phase` of one step; from the host: copied from its memory."""

    phase: str
    what: str
    bytes: int


class Training(NamedTuple):
    """A role's own tensors, those that its passes gather, and how often it does so in a step; `already`: but for the
    first time.
    """

    own: Placed
    gathers: Placed
    micro_batches: int
    optimizer_steps: int = 1
    already: bool = False


def all_reduced(size: int, ranks: int) -> int:
    """Sent of `size` bytes that become the sum over ranks."""
    return round(2 * (ranks - 1) / ranks * size)


def training(role: Training) -> list[Sent]:
    """Forwards, backward passes and optimizer steps."""
    gathers, times = role.gathers, role.micro_batches
    again = times if gathers.place.layout == "zero-3" else 0
    return [
        *_gathered(FORWARD, gathers, blocks=times - role.already, root=times - role.already),
        *_gathered(BACKWARD, gathers, blocks=again, root=0),
        Sent(BACKWARD, SUMS, times * _scattered(role.own)),
        Sent(OPTIMIZER, SUMS, role.optimizer_steps * _summed(role.own)),
        Sent(OPTIMIZER, GATHERS, role.optimizer_steps * _told(role.own)),
    ]


def passing(phase: str, gathers: Placed, micro_batches: int) -> list[Sent]:
    """Forwards without gradient: the root is gathered once, and so is everything in zero-2."""
    blocks = micro_batches if gathers.place.layout == "zero-3" else 1
    return _gathered(phase, gathers, blocks=blocks, root=1)


def whole(phase: str, gathers: Placed) -> list[Sent]:
    """All weights, once: a rollout."""
    return _gathered(phase, gathers, blocks=1, root=1)


def joined(phase: str, rows: int, bytes_of_a_row: int, ranks: int) -> Sent:
    """Every rank's `rows` on all ranks."""
    return Sent(phase, JOINS, (ranks - 1) * rows * bytes_of_a_row)


def added(sent: Iterable[Sent]) -> list[Sent]:
    """One of each kind and phase, in the order of their first; nothing of 0 bytes."""
    sums: dict[tuple[str, str], int] = {}
    for one in sent:
        sums[one.phase, one.what] = sums.get((one.phase, one.what), 0) + one.bytes
    return [Sent(phase, what, count) for (phase, what), count in sums.items() if count]


def to_ranks(sent: Sequence[Sent]) -> int:
    """Bytes that go to other ranks."""
    return sum(one.bytes for one in sent if one.what != FROM_HOST)


def _gathered(phase: str, placed: Placed, *, blocks: int, root: int) -> list[Sent]:
    place = placed.place
    if not place.sharded:
        return []
    share = blocks * placed.share_of_blocks() + root * placed.share_of_root()
    found = [Sent(phase, GATHERS, (place.ranks - 1) * place.gather_bytes * share)]
    return [*found, Sent(phase, FROM_HOST, FLOAT32 * share)] if place.offload else found


def _scattered(own: Placed) -> int:
    """Gradients of what is cut, after each backward pass."""
    if not (own.place.sharded and own.trained):
        return 0
    return (own.place.ranks - 1) * FLOAT32 * (own.share_of_blocks() + own.share_of_root())


def _summed(own: Placed) -> int:
    """Gradients of what is whole on every rank, before an optimizer step."""
    summed = numbers(own.whole) * own.whole_trained if own.place.sharded else own.trained_numbers
    return all_reduced(FLOAT32 * summed, own.place.ranks)


def _told(own: Placed) -> int:
    """zero-1: what each rank has stepped, to all."""
    if own.place.layout != "zero-1":
        return 0
    return round((own.place.ranks - 1) / own.place.ranks * FLOAT32 * own.trained_numbers)
