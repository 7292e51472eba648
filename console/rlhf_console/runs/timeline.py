"""Which phase was at work when, and what was in memory at its peak, by kind."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rlhf_sdk.events import MemoryTable, PhaseEnded
from rlhf_sdk.machine_samples import MachineSample

MOST_SPANS = 4096
KINDS = ("weights", "gradients", "optimizer", "experience", "unaccounted", "activations", "cache")
"""In the order in which they are stacked: what stays, what comes and goes, what the allocator keeps besides."""


@dataclass(frozen=True, slots=True)
class Span:
    """A phase (empty: none) from `start` to `end` in Unix seconds; `kinds` has bytes in the order of `KINDS`."""

    start: float
    end: float
    phase: str
    kinds: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return sum(self.kinds)


@dataclass
class Timeline:
    """Spans in the order of their ends; of more than `MOST_SPANS` the older half is merged, two by two."""

    spans: list[Span] = field(default_factory=list)
    on_device: bool = False

    def end_phase(self, event: PhaseEnded, table: MemoryTable | None) -> None:
        """Takes an outermost phase in; those within it are part of it."""
        if "/" in event.name:
            return
        self.on_device = self.on_device or "peak" in event.memory
        kinds = kinds_of(event.memory, table, on_device=self.on_device)
        self.spans.append(Span(event.time - event.seconds, event.time, event.name, kinds))
        if len(self.spans) > MOST_SPANS:
            half = MOST_SPANS // 2
            older = self.spans[:half]
            self.spans[:half] = [_merged(*pair) for pair in zip(older[::2], older[1::2], strict=True)]


def kinds_of(memory: Mapping[str, int], table: MemoryTable | None, *, on_device: bool) -> tuple[int, ...]:
    """What a phase's peak consists of; nothing where it did not tell its peak on the device.

    Weights, gradients, optimizer and experience are the trainer's own tensors as last told; unaccounted is what else
    was there then, between steps; activations is what the peak has beyond both; cache is what the allocator keeps
    beyond the peak.
    """
    kept = dict.fromkeys(KINDS, 0)
    peak = memory.get("peak", 0) if on_device else memory.get("rss_peak") or memory.get("rss", 0)
    if not peak:
        return tuple(kept.values())
    for row in table.rows if table else []:
        kept[row.kind] += row.bytes
    rest = max(peak - sum(kept.values()), 0)
    kept["unaccounted"] = min(table.unaccounted, rest) if table else rest
    kept["activations"] = rest - kept["unaccounted"]
    kept["cache"] = max(memory.get("reserved", 0) - peak, 0)
    return tuple(kept.values())


def sampled_spans(moments: Sequence[MachineSample], phases: Sequence[Span]) -> list[Span]:
    """For phases that told no memory: the RSS of each moment, since the one before it, in the phase that had begun."""
    found = []
    for before, now in pairwise(moments):
        begun = bisect_right(phases, now.time, key=lambda span: span.start) - 1
        at_work = begun >= 0 and phases[begun].end >= before.time
        kinds = kinds_of({"rss": now.rss}, None, on_device=False)
        found.append(Span(before.time, now.time, phases[begun].phase if at_work else "", kinds))
    return found


def _merged(first: Span, second: Span) -> Span:
    """Named by the longer one, as high as the higher one."""
    longer = max(first, second, key=lambda span: span.end - span.start)
    higher = max(first, second, key=lambda span: span.bytes)
    return Span(first.start, second.end, longer.phase, higher.kinds)
