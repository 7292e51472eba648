"""Bytes that this rank sends in each phase: what torch.distributed's collectives are given, sent around rings.

Numbers that ranks exchange to agree (safe points, sums for metrics) are counted apart, as words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch.distributed as dist
from torch import Tensor

from benchmarks.memory_meter import MarkedPhases
from rlhf_engine.ranked_plan.traffic import GATHERS, JOINS, SUMS
from rlhf_engine.ranks import Ranks

WORDS = "words"
OUTSIDE = "outside"

Sent = Counter[tuple[str, str]]
"""Bytes by phase and by what they are, named as in the plan."""


class NotedPhases(MarkedPhases):
    """Hooks that know the innermost phase."""

    def __init__(self) -> None:
        self.inside = [OUTSIDE]

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.inside.append(name)
        with super().phase(name):
            yield
        self.inside.pop()


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


class WireMeter:
    """Counts while `counting`."""

    def __init__(self, ranks: Ranks, phases: NotedPhases) -> None:
        self.ranks, self.phases = ranks, phases
        self.sent: Sent = Counter()

    @contextmanager
    def counting(self) -> Iterator[None]:
        counted: dict[str, Callable[..., None]] = {
            "all_reduce": self._all_reduce,
            "all_gather": self._all_gather,
            "all_gather_single": self._gathered_shards,
            "reduce_scatter_single": self._scattered_sums,
            "broadcast": self._broadcast,
        }
        with ExitStack() as patches:
            for name, note in counted.items():
                patches.enter_context(patch.object(dist, name, _with(note, getattr(dist, name))))
            yield

    def _note(self, what: str, size: float) -> None:
        self.sent[self.phases.inside[-1], what] += round(size)

    def _all_reduce(self, tensor: Tensor, *_: Any, **__: Any) -> None:
        waiting_for: str = getattr(self.ranks, "waiting_for", "")
        share = 2 * (self.ranks.size - 1) / self.ranks.size
        self._note(SUMS if waiting_for == "gradients" else WORDS, share * _bytes(tensor))

    def _all_gather(self, _: Any, tensor: Tensor, *__: Any, **___: Any) -> None:
        waiting_for: str = getattr(self.ranks, "waiting_for", "")
        self._note(JOINS if waiting_for == "rows" else WORDS, (self.ranks.size - 1) * _bytes(tensor))

    def _gathered_shards(self, _: Any, shard: Tensor, *__: Any, **___: Any) -> None:
        self._note(GATHERS, (self.ranks.size - 1) * _bytes(shard))

    def _scattered_sums(self, *_: Any, output: Tensor, **__: Any) -> None:
        self._note(SUMS, (self.ranks.size - 1) * _bytes(output))

    def _broadcast(self, tensor: Tensor, *_: Any, **__: Any) -> None:
        """Each rank's share on the way to all others: as many for every rank, on average."""
        self._note(GATHERS, (self.ranks.size - 1) / self.ranks.size * _bytes(tensor))


def _with(note: Callable[..., None], collective: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **settings: Any) -> Any:
        note(*arguments, **settings)
        return collective(*arguments, **settings)

    return counted
