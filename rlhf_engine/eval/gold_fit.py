"""How gold depends on the distance from the initial policy: the fits of Gao et al. 2022, section 3.1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Method = Literal["rl", "best_of_n"]


@dataclass(frozen=True)
class GoldFit:
    """gold(d) - gold(0) = d (alpha - beta log d) for RL, d (alpha - beta d) for best-of-n; d = sqrt(KL in nats)."""

    method: Method
    alpha: float
    beta: float

    def gain(self, distance: float) -> float:
        """gold(d) - gold(0); 0 at d = 0."""
        if distance == 0.0:
            return 0.0
        penalty = math.log(distance) if self.method == "rl" else distance
        return distance * (self.alpha - self.beta * penalty)

    @property
    def peak_distance(self) -> float | None:
        """d* where gold is highest; None where the fit has no peak (beta <= 0, or best-of-n with alpha <= 0)."""
        if self.beta <= 0 or (self.method == "best_of_n" and self.alpha <= 0):
            return None
        return math.exp(self.alpha / self.beta - 1.0) if self.method == "rl" else self.alpha / (2.0 * self.beta)


def fit_gold(kl_nats: Sequence[float], gains: Sequence[float], method: Method) -> GoldFit:
    """Least squares over the points of positive KL, [N] each; `gains` are gold less the initial policy's gold.

    Raises ValueError for points at fewer than two different distances.
    """
    points = [(math.sqrt(kl), gain) for kl, gain in zip(kl_nats, gains, strict=True) if kl > 0]
    if len({distance for distance, _ in points}) < 2:
        raise ValueError("two coefficients need points at two different distances")
    distances, targets = np.array(points, dtype=np.float64).T
    penalties = np.log(distances) if method == "rl" else distances
    columns = np.stack([distances, -distances * penalties], axis=1)
    alpha, beta = np.linalg.lstsq(columns, targets, rcond=None)[0]
    return GoldFit(method, float(alpha), float(beta))
