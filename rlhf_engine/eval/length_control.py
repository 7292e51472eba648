"""Win rates with the advantage of length taken out, and by how much longer the text is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf_engine.eval.intervals import Interval, mean_interval

Floats = NDArray[np.float64]
PENALTY = 1e-2
"""Of each squared coefficient: keeps them finite where one side wins always."""
NEWTON_STEPS = 50


@dataclass(frozen=True)
class LengthControlled:
    """`rate` is the win rate as it would be at equal length; `length_weight` is b of `length_controlled`, in logits."""

    rate: Interval
    length_weight: float


def length_controlled(
    credits: Sequence[float], lengths: Sequence[int], other_lengths: Sequence[int], clusters: Sequence[Hashable]
) -> LengthControlled:
    """Of credits [N] in 0, 1/2, 1: logit P(win) = a + b tanh((length - other) / spread), read at equal length.

    The length term of AlpacaEval 2 (Dubois et al. 2024, eq. 1), without those of instructions, which need many models.
    The 95 % interval is a's, from the sandwich covariance by cluster (Liang and Zeger 1986). Raises ValueError without
    credits.
    """
    if len(credits) == 0:
        raise ValueError("no credits to fit")
    won = np.asarray(credits, dtype=np.float64)
    longer = np.asarray(lengths, dtype=np.float64) - np.asarray(other_lengths, dtype=np.float64)
    inputs = np.stack([np.ones_like(won), np.tanh(longer / (np.std(longer) or 1.0))], axis=1)
    weights = _fit(inputs, won)
    error = np.sqrt(_sandwich(inputs, won, weights, clusters)[0, 0])
    low, rate, high = _sigmoid(weights[0] + 1.959964 * error * np.array([-1.0, 0.0, 1.0]))
    return LengthControlled(Interval(float(rate), float(low), float(high)), float(weights[1]))


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float64)


def _fit(inputs: Floats, won: Floats) -> Floats:
    """Weights [K] of the penalised logistic regression of credits [N] on inputs [N, K], by Newton's method."""
    weights = np.zeros(inputs.shape[1])
    for _ in range(NEWTON_STEPS):
        gradient = inputs.T @ (won - _sigmoid(inputs @ weights)) - PENALTY * weights
        step = np.linalg.solve(_curvature(inputs, weights), gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-10:
            break
    return weights


def _curvature(inputs: Floats, weights: Floats) -> Floats:
    p = _sigmoid(inputs @ weights)
    return np.asarray((inputs * (p * (1 - p))[:, None]).T @ inputs + PENALTY * np.eye(inputs.shape[1]))


def _sandwich(inputs: Floats, won: Floats, weights: Floats, clusters: Sequence[Hashable]) -> Floats:
    """Covariance [K, K] of the weights that holds whatever the credits of one cluster do together."""
    index: dict[Hashable, int] = {}
    rows = [index.setdefault(cluster, len(index)) for cluster in clusters]
    scores = np.zeros((len(index), inputs.shape[1]))
    np.add.at(scores, rows, inputs * (won - _sigmoid(inputs @ weights))[:, None])
    inverse = np.linalg.inv(_curvature(inputs, weights))
    return np.asarray(inverse @ scores.T @ scores @ inverse)


@dataclass(frozen=True)
class LengthBin:
    """Pairs whose ln(length / other length) lies between `low` and `high`, both included."""

    low: float
    high: float
    count: int
    rate: Interval


def by_length_ratio(
    credits: Sequence[float],
    lengths: Sequence[int],
    other_lengths: Sequence[int],
    clusters: Sequence[Hashable],
    *,
    bins: int,
    resamples: int,
    seed: int,
) -> list[LengthBin]:
    """Win rate over bins of equal size by log length ratio, shortest first (as plotted by Huang et al. 2024)."""
    ratios = np.log(np.asarray(lengths, dtype=np.float64)) - np.log(np.asarray(other_lengths, dtype=np.float64))
    order = np.argsort(ratios, kind="stable")
    found = []
    for rows in np.array_split(order, min(bins, len(order))):
        rate = mean_interval(
            [credits[row] for row in rows], [clusters[row] for row in rows], resamples=resamples, seed=seed
        )
        found.append(LengthBin(float(ratios[rows[0]]), float(ratios[rows[-1]]), len(rows), rate))
    return found
