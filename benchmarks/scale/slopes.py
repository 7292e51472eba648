"""Exponents of growth: straight lines through logarithms, with their confidence intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}
"""97.5 % quantile of Student's distribution by degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Slope:
    """y grows as x to the power `exponent`, give or take `half_width` (95 %)."""

    exponent: float
    half_width: float


def slope(xs: Sequence[float], ys: Sequence[float]) -> Slope:
    """Least squares of log y on log x. At least three points, all above 0."""
    x, y = [math.log(value) for value in xs], [math.log(value) for value in ys]
    line = statistics.linear_regression(x, y)
    left = sum((b - line.slope * a - line.intercept) ** 2 for a, b in zip(x, y, strict=True))
    spread = sum((a - statistics.fmean(x)) ** 2 for a in x)
    freedom = len(x) - 2
    return Slope(line.slope, T_95[freedom] * math.sqrt(left / freedom / spread))
