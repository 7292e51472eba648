"""Mean and interval over a few seeds, and what no other point beats in both of two figures. Plain numbers, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


def dominated_by(points: Mapping[str, tuple[float, float]]) -> dict[str, str]:
    """For each point (gain, cost) that is not on the Pareto front, one of the front that beats it.

    A point is beaten by one with no less gain at no more cost, and better in one of the two.
    """
    by_gain = sorted(points, key=lambda name: (-points[name][0], points[name][1]))
    beaten, front = dict[str, str](), list[str]()
    for name in by_gain:
        better = next((other for other in front if _beats(points[other], points[name])), None)
        if better is None:
            front.append(name)
        else:
            beaten[name] = better
    return beaten


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] >= other[0] and one[1] <= other[1] and one != other
