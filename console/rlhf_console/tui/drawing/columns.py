"""What a series looks like in so many columns, kept up to date at the cost of the new points alone."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf_console.scale import View


@dataclass(slots=True)
class Extent:
    """The finite values of one column: first, least, greatest, last.

    Four figures a column draw exactly what all points joined by lines would (M4: Jugel et al. 2014).
    `joined` tells whether no NaN or infinity came between the column before and `first`.
    """

    first: float
    low: float
    high: float
    last: float
    joined: bool


class Columns:
    """One series in `width` columns of a view; with `log` its decimal logarithms, and what has none is not finite."""

    def __init__(self, view: View, width: int, *, log: bool = False) -> None:
        self.view, self.width, self._log = view, width, log
        self._revision = 0
        self._forget()

    def _forget(self) -> None:
        self.extents: dict[int, Extent] = {}
        self.non_finite: set[int] = set()
        self._broken = False
        self._seen = 0

    def follow(self, xs: Sequence[float], values: Sequence[float], revision: int = 0) -> None:
        """Takes in what is new at increasing `xs`; begins anew where `revision` is another, or places are gone."""
        count = min(len(xs), len(values))
        if revision != self._revision or self._seen > count:
            self._forget()
            self._revision = revision
        start = max(self._seen, bisect_left(xs, self.view.first, 0, count))
        last = bisect_right(xs, self.view.last, 0, count)
        while start < last:
            column = self.view.column(xs[start], self.width)
            end = max(bisect_right(xs, column, start, last, key=self._column), start + 1)
            self._take(column, values[start:end])
            start = end
        self._seen = count

    def _column(self, x: float) -> int:
        return self.view.column(x, self.width)

    def _take(self, column: int, values: Sequence[float]) -> None:
        """Adds the next values of one column: all at once, unless one of them is not finite."""
        if self._log:
            values = [math.log10(value) if value > 0 else math.nan for value in values]
        if math.isfinite(sum(values)):
            self._widen(column, Extent(values[0], min(values), max(values), values[-1], not self._broken))
            return
        for value in values:
            if math.isfinite(value):
                self._widen(column, Extent(value, value, value, value, not self._broken))
            else:
                self.non_finite.add(column)
                self._broken = True

    def _widen(self, column: int, by: Extent) -> None:
        extent = self.extents.setdefault(column, by)
        if extent is not by:
            extent.low, extent.high, extent.last = min(extent.low, by.low), max(extent.high, by.high), by.last
        self._broken = False

    @property
    def range(self) -> tuple[float, float] | None:
        """Least and greatest finite value; None where there is none."""
        if not self.extents:
            return None
        every = self.extents.values()
        return min(extent.low for extent in every), max(extent.high for extent in every)
