"""Mean and interval over a few seeds: Student's t, in plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

LEVEL = 0.95
HALVINGS = 200


@dataclass(frozen=True)
class Estimate:
    """A mean, and half the width of its interval; None where one value alone tells nothing of the spread."""

    mean: float
    half: float | None
    count: int


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value, with Student's t interval at 95 %: the seeds are few, their spread is unknown."""
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean, None, count)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return Estimate(mean, t_quantile((1 + LEVEL) / 2, count - 1) * math.sqrt(variance / count), count)


@lru_cache(maxsize=256)
def t_quantile(probability: float, freedom: int) -> float:
    """The t that Student's distribution with `freedom` degrees stays below with `probability` (0.5 to 1)."""
    low, high = 0.0, 1.0
    while t_below(high, freedom) < probability:
        high *= 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if t_below(middle, freedom) < probability else (low, middle)
    return high


def t_below(t: float, freedom: int) -> float:
    """Student's distribution function for t >= 0: Abramowitz and Stegun 26.7.3 and 26.7.4, exact for whole degrees."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for index in range(2 + odd, freedom + 1, 2):
        total += term
        term *= math.cos(angle) ** 2 * (index - 1) / index
    within = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return (1 + within) / 2
