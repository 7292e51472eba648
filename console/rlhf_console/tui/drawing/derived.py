"""A series drawn along another axis, or smoothed, kept up to date at the cost of the new points alone."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, islice

from rlhf_console.runs.series import Series, new_revision

Place = Callable[[int, float], float]
"""From step and Unix time to a place on the x axis."""


def by_step(step: int, _time: float) -> float:
    return step


class Derived:
    """`xs` and `values`, in `unit`s, of one series; `weight` is the past's in the moving average, 0: as they are.

    The average is debiased: sum of w^i (1 - w) v over 1 - w^n, as in Adam (Kingma and Ba 2015). NaN and infinities stay
    where they are and are left out of it. A clock that was put back does not take a place back. `revision` is another
    number whenever what was there has changed.
    """

    def __init__(self, place: Place, weight: float, *, unit: float = 1.0) -> None:
        self._place, self._weight, self._unit = place, weight, unit
        self._forget()

    def _forget(self) -> None:
        self.revision = new_revision()
        self.xs: Sequence[float] = ()
        self.values: Sequence[float] = ()
        self._xs, self._values = array("d"), array("d")
        self._average, self._decay = 0.0, 1.0
        self._followed = 0

    def follow(self, series: Series) -> None:
        """Takes in what is new; begins anew where values that were seen have been superseded."""
        if series.revision != self._followed:
            self._forget()
            self._followed = series.revision
        self.xs = series.steps if self._place is by_step else self._placed(series)
        self.values = series.values if not self._weight and self._unit == 1.0 else self._made(series)

    def _placed(self, series: Series) -> Sequence[float]:
        seen = len(self._xs)
        new = map(self._place, series.steps[seen:], series.times[seen:])
        self._xs.extend(islice(accumulate(chain(self._xs[-1:], new), max), 1 if seen else 0, None))
        return self._xs

    def _made(self, series: Series) -> Sequence[float]:
        scaled = [value / self._unit for value in series.values[len(self._values) :]]
        self._values.extend(self._smoothed(scaled) if self._weight else scaled)
        return self._values

    def _smoothed(self, values: list[float]) -> list[float]:
        average, decay, weight = self._average, self._decay, self._weight
        smooth = []
        for value in values:
            if math.isfinite(value):
                average = weight * average + (1 - weight) * value
                decay *= weight
                value = average / (1 - decay)
            smooth.append(value)
        self._average, self._decay = average, decay
        return smooth
