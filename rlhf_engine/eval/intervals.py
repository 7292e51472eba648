"""How sure a mean is: bootstrap over clusters, so that several rows on one post count as one observation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """In other units; `factor` is above 0."""
        return Interval(self.mean * factor, self.low * factor, self.high * factor)

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_interval(
    values: Sequence[float] | Floats,
    clusters: Sequence[Hashable],
    *,
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> Interval:
    """Mean of `values` [N] and its percentile interval; whole clusters are drawn with replacement (Efron 1979).

    `clusters` [N] names the post of each value. For paired comparisons the values are each pair's difference.
    A pure function of its arguments. Raises ValueError without values.
    """
    ones = np.ones(len(values))
    return ratio_interval(values, ones, clusters, resamples=resamples, seed=seed, confidence=confidence)


def ratio_interval(
    values: Sequence[float] | Floats,
    sizes: Sequence[float] | Floats,
    clusters: Sequence[Hashable],
    *,
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> Interval:
    """As `mean_interval`, of sum(values) / sum(sizes), both [N]: nats of responses over their tokens, say."""
    if len(values) == 0:
        raise ValueError("no values to take the mean of")
    sums, sizes = _cluster_sums(values, clusters), _cluster_sums(sizes, clusters)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for i in range(resamples):
        drawn = rng.integers(len(sums), size=len(sums))
        means[i] = sums[drawn].sum() / sizes[drawn].sum()
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(float(sums.sum() / sizes.sum()), float(low), float(high))


def _cluster_sums(values: Sequence[float] | Floats, clusters: Sequence[Hashable]) -> Floats:
    """Of each cluster, in order of first appearance."""
    index: dict[Hashable, int] = {}
    rows = np.array([index.setdefault(cluster, len(index)) for cluster in clusters])
    return np.bincount(rows, weights=np.asarray(values, dtype=np.float64)).astype(np.float64)


def wins(scores: Sequence[float], other_scores: Sequence[float]) -> Floats:
    """1 where a score [N] is above its counterpart, 0 where below, one half for a tie. Their mean is the win rate."""
    difference = np.asarray(scores, dtype=np.float64) - np.asarray(other_scores, dtype=np.float64)
    return (np.sign(difference) + 1.0) / 2.0


def flat_figures(intervals: Mapping[str, Interval | None]) -> dict[str, float]:
    """Each interval as three figures: its name, and with _low and _high; those that are None are left out."""
    flat: dict[str, float] = {}
    for name, interval in intervals.items():
        if interval is not None:
            flat |= {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return flat
