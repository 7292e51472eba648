"""What a chart draws: lines, the bands around them, and how each looks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

MARKERS = "●▲■◆✚★"
OVERLAY_LOOK = 3
"""The look of the first run that is drawn over another; the following ones have the next."""


@dataclass(frozen=True)
class Band:
    """An interval around each value of a line, NaN where it has none; `counts`: of how many runs each is the mean."""

    low: Sequence[float]
    high: Sequence[float]
    counts: Sequence[int]


@dataclass(frozen=True)
class Line:
    """One metric of one run, or of several as their mean: its values at increasing places, and its look in the chart.

    Both may grow while it is kept, `xs` first; `revision` is another number where they have changed otherwise. A
    `faint` line is the raw trace behind a smoothed one. Neither it nor one that is not `told` is in the legend, which
    calls a line `short` where that is not None. `newest` is the raw newest value.
    """

    name: str
    xs: Sequence[float]
    values: Sequence[float]
    look: int = 0
    faint: bool = False
    newest: float | None = None
    revision: int = 0
    band: Band | None = None
    told: bool = True
    short: str | None = None

    @property
    def in_legend(self) -> bool:
        return self.told and not self.faint

    def index_at(self, place: float) -> int:
        """Of the last value at or before a place; -1 before the first."""
        return bisect_right(self.xs, place, 0, min(len(self.xs), len(self.values))) - 1


def series_style(look: int) -> str:
    return f"series-{look % len(MARKERS)}"


def marker(look: int) -> str:
    return MARKERS[look % len(MARKERS)]
