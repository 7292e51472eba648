"""When memory will run out, from the peaks of the steps so far. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import median

FEWEST, POINTS = 12, 40
CERTAIN = 4.0
"""Kendall's S in standard deviations: one flat noisy window in 30 000 goes beyond."""
LARGEST_SETBACK = 0.5
"""Of the whole rise: what falls back further is a sawtooth (a cache that is emptied, say) and not a trend."""
STILL_RISING = 0.25
"""Of the whole slope, in the newer half: what rose once and stays is no trend."""
FARTHEST = 10.0
"""How many times the steps that were seen a trend is believed to go on."""


def steps_until(limit: float, peaks: Sequence[float]) -> float | None:
    """Steps after the newest until a peak reaches `limit`, if `peaks` (one a step) rise; None where they don't.

    Slope: Theil 1950, Sen 1968 (median over pairs, so that a few outliers don't move it). It counts where Kendall's S
    (Mann 1945) says that the rise is no accident. Looked at twice: the newest steps, and all of them in blocks of which
    the highest counts, so that a slow rise under much noise shows too.
    """
    recent = list(peaks[-POINTS:])
    block = max(math.ceil(len(peaks) / POINTS), 1)
    whole = [max(peaks[end - block : end]) for end in range(len(peaks) % block + block, len(peaks) + 1, block)]
    found = [_steps_of_trend(limit, recent, 1), _steps_of_trend(limit, whole, block)]
    return min((steps for steps in found if steps is not None), default=None)


def slope_of(values: Sequence[float]) -> float:
    """The median slope over all pairs, per place."""
    return median((values[j] - values[i]) / (j - i) for i, j in combinations(range(len(values)), 2))


def _steps_of_trend(limit: float, values: Sequence[float], steps_each: int) -> float | None:
    if len(values) < FEWEST or not _rises(values):
        return None
    slope = slope_of(values)
    base = median(value - slope * place for place, value in enumerate(values))
    highest = max(value - slope * place for place, value in enumerate(values)) - base
    now = base + slope * (len(values) - 1)
    places = (limit - now - highest) / slope if slope > 0 else math.inf
    return max(places, 0.0) * steps_each if places <= FARTHEST * len(values) else None


def _rises(values: Sequence[float]) -> bool:
    """Whether later values are higher than by accident, none falls back by much of the rise, and it goes on."""
    n = len(values)
    s = sum((values[j] > values[i]) - (values[j] < values[i]) for i, j in combinations(range(n), 2))
    if s <= CERTAIN * math.sqrt(n * (n - 1) * (2 * n + 5) / 18):
        return False
    highest, setback = values[0], 0.0
    for value in values:
        highest = max(highest, value)
        setback = max(setback, highest - value)
    slope = slope_of(values)
    return setback < LARGEST_SETBACK * slope * n and slope_of(values[n // 2 :]) >= STILL_RISING * slope
