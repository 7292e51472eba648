"""A series drawn along another axis, or smoothed, kept up to date at the cost of the new points alone."""

from __future__ import annotations

import math
from collections.abc import Callable

from rlhf_console.runs.fold import Series

Place = Callable[[int, float], float]
"""From step and Unix time to a place on the x axis."""


def by_step(step: int, _time: float) -> float:
    return step


class Derived:
    """`xs` and `values`, in `unit`s, of one series; `weight` is the past's in the moving average, 0: as they are.

    The average is debiased: sum of w^i (1 - w) v over 1 - w^n, as in Adam (Kingma and Ba 2015). NaN and infinities stay
    where they are and are left out of it.
    """

    def __init__(self, place: Place, weight: float, *, unit: float = 1.0) -> None:
        self._place, self._weight, self._unit = place, weight, unit
        self._forget()

    def _forget(self) -> None:
        self.xs: list[float] = []
        self.values: list[float] = []
        self._average, self._decay = 0.0, 1.0
        self._newest: object = None

    def follow(self, series: Series) -> None:
        """Takes in what is new; begins anew where values that were seen have been superseded."""
        seen = len(self.xs)
        if seen > len(series.steps) or (seen and series.values[seen - 1] is not self._newest):
            self._forget()
        for index in range(len(self.xs), len(series.steps)):
            self.xs.append(self._place(series.steps[index], series.times[index]))
            self.values.append(self._smoothed(series.values[index] / self._unit))
        self._newest = series.values[-1] if series.values else None

    def _smoothed(self, value: float) -> float:
        if not self._weight or not math.isfinite(value):
            return value
        self._average = self._weight * self._average + (1 - self._weight) * value
        self._decay *= self._weight
        return self._average / (1 - self._decay)
