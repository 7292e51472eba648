"""The mean of a metric over runs that differ in their seeds alone, and its interval, step by step."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf_console.runs.series import new_revision
from rlhf_sdk.statistics import estimate


@dataclass(frozen=True)
class Track:
    """One run's values of a metric: increasing `steps`, the place of each on the x axis, and its value.

    All three may grow while they are kept; `revision` is another number where they have changed otherwise.
    """

    steps: Sequence[int]
    xs: Sequence[float]
    values: Sequence[float]
    revision: int

    @property
    def count(self) -> int:
        return min(len(self.steps), len(self.xs), len(self.values))


class SeedMean:
    """At each step that any run logged: the mean of those that have got there, and Student's t interval at 95 %.

    A run that did not log at that step stands with its last value before. `xs` are the runs' mean places; `low` and
    `high` are NaN where one run alone is left, `counts` has how many there are. Costs what the new steps do.
    """

    def __init__(self) -> None:
        self.revision = new_revision()
        self._forget(0)

    def _forget(self, count: int) -> None:
        self.steps = array("q")
        self.xs, self.means, self.low, self.high = array("d"), array("d"), array("d"), array("d")
        self.counts = array("q")
        self._revisions: list[int] = []
        self._seen = [-1] * count

    def follow(self, tracks: Sequence[Track]) -> None:
        """Takes in what is new; begins anew where there are other runs, or values that were seen are superseded."""
        revisions = [track.revision for track in tracks]
        if revisions != self._revisions or any(map(_is_shorter, tracks, self._seen)):
            self._forget(len(tracks))
            self._revisions, self.revision = revisions, new_revision()
        spans = [_unseen(track, seen) for track, seen in zip(tracks, self._seen, strict=True)]
        for first, last in _merged([span for span in spans if span is not None]):
            self._make(tracks, first, last)
        self._seen = [track.steps[track.count - 1] if track.count else -1 for track in tracks]

    def _make(self, tracks: Sequence[Track], first: int, last: int) -> None:
        """Anew from step `first` to `last`."""
        start, end = bisect_left(self.steps, first), bisect_right(self.steps, last)
        logged = {
            step
            for track in tracks
            for step in track.steps[bisect_left(track.steps, first) : bisect_right(track.steps, last, hi=track.count)]
        }
        made = array("q", sorted(logged))
        if start < len(self.steps):
            self.revision = new_revision()
        self.steps[start:end] = made
        rows = [_at(tracks, step) for step in made]
        columns = (self.xs, self.means, self.low, self.high)
        for place, column in enumerate(columns):
            column[start:end] = array("d", [row[place] for row in rows])
        self.counts[start:end] = array("q", [row[-1] for row in rows])


def _is_shorter(track: Track, seen: int) -> bool:
    return bool(seen >= 0 and (not track.count or track.steps[track.count - 1] < seen))


def _unseen(track: Track, seen: int) -> tuple[int, int] | None:
    """The first and the last step after `seen`, from the one that carried the run's value until now."""
    if not track.count or track.steps[track.count - 1] <= seen:
        return None
    return (track.steps[0] if seen < 0 else seen + 1), track.steps[track.count - 1]


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same steps in spans that do not overlap, ascending."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return merged


def _at(tracks: Sequence[Track], step: int) -> tuple[float, float, float, float, int]:
    """Mean place, mean, ends of the interval, and how many runs are at `step`, between their first and last one."""
    places, values = [], []
    for track in tracks:
        count = track.count
        if count and track.steps[0] <= step <= track.steps[count - 1]:
            index = bisect_right(track.steps, step, hi=count) - 1
            places.append(track.xs[index])
            values.append(track.values[index])
    x = math.fsum(places) / len(places)
    if not all(map(math.isfinite, values)):
        return x, math.nan, math.nan, math.nan, len(values)
    found = estimate(values)
    if found.half is None:
        return x, found.mean, math.nan, math.nan, 1
    return x, found.mean, found.mean - found.half, found.mean + found.half, found.count
