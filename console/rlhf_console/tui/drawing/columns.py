"""What a series looks like in so many columns, kept up to date at the cost of the new points alone."""

from __future__ import annotations

import math
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
        self._forget()

    def _forget(self) -> None:
        self.extents: dict[int, Extent] = {}
        self.non_finite: set[int] = set()
        self._broken = False
        self._seen = 0
        self._newest: tuple[float, object] = (0, None)

    def follow(self, steps: Sequence[float], values: Sequence[float]) -> None:
        """Takes in what is new; begins anew where values that were seen have been superseded."""
        if self._seen > len(steps) or (self._seen and not self._is_newest(steps, values)):
            self._forget()
        for index in range(self._seen, len(steps)):
            self._add(steps[index], values[index])
        if len(steps) > self._seen:
            self._seen, self._newest = len(steps), (steps[-1], values[-1])

    def _is_newest(self, steps: Sequence[float], values: Sequence[float]) -> bool:
        step, value = self._newest
        return steps[self._seen - 1] == step and values[self._seen - 1] is value

    def _add(self, step: float, value: float) -> None:
        if not self.view.first <= step <= self.view.last:
            return
        column = self.view.column(step, self.width)
        if self._log:
            value = math.log10(value) if value > 0 else math.nan
        if not math.isfinite(value):
            self.non_finite.add(column)
            self._broken = True
            return
        extent = self.extents.get(column)
        if extent is None:
            self.extents[column] = Extent(value, value, value, value, not self._broken)
        else:
            extent.low, extent.high, extent.last = min(extent.low, value), max(extent.high, value), value
        self._broken = False

    @property
    def range(self) -> tuple[float, float] | None:
        """Least and greatest finite value; None where there is none."""
        if not self.extents:
            return None
        every = self.extents.values()
        return min(extent.low for extent in every), max(extent.high for extent in every)
