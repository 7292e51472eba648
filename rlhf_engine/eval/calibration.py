"""Does a reward model's confidence mean what it says: temperature, reliability by confidence, calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf_engine.eval.intervals import Floats, Interval, mean_interval

Bools = NDArray[np.bool_]

BINS = 10
"""Of equal width between confidences 0.5 and 1."""
INVERSE_TEMPERATURES = (1e-3, 1e3)
BISECTIONS = 60


def confidences(margins: Floats, temperature: float = 1.0) -> Floats:
    """P(the response with the higher score is preferred) of margins [N] by Bradley-Terry, in [0.5, 1]."""
    return _sigmoid(np.abs(margins) / temperature)


def fit_temperature(margins: Floats) -> float:
    """The T that makes -log sigmoid(margin / T) least over pairs, `margins` [N] = chosen less rejected score.

    By bisection on 1 / T, in which the loss is convex; from 0.001 (all margins agree with the labels: as confident as
    can be) to 1000 (no relation to the labels). Guo et al. 2017, for one logit. Raises ValueError without margins.
    """
    if len(margins) == 0:
        raise ValueError("no margins to fit a temperature to")
    low, high = INVERSE_TEMPERATURES
    for _ in range(BISECTIONS):
        middle = np.sqrt(low * high)
        slope = -np.mean(margins * _sigmoid(-margins * middle))
        low, high = (middle, high) if slope <= 0 else (low, middle)
    return float(1.0 / np.sqrt(low * high))


def expected_calibration_error(confidence: Floats, correctness: Floats) -> float:
    """Mean over pairs of |mean confidence - accuracy| of the pair's bin, all [N] (Naeini et al. 2015; Guo et al. 2017).

    `correctness` is 1, 0, or one half for a tie.
    """
    bins = _bins(confidence)
    differences = np.bincount(bins, weights=confidence - correctness, minlength=BINS)
    return float(np.abs(differences).sum() / len(confidence))


def calibration_error_floor(confidence: Floats, *, draws: int, seed: int) -> float:
    """Mean calibration error of `draws` simulated models that are right exactly as often as their confidence [N] says.

    Finite bins have an error even then; what matters is how far a measured error lies above it.
    """
    rng = np.random.default_rng(seed)
    simulated = ((rng.random(len(confidence)) < confidence).astype(np.float64) for _ in range(draws))
    return float(np.mean([expected_calibration_error(confidence, correct) for correct in simulated]))


def half_of_posts(posts: Sequence[str], seed: int) -> Bools:
    """[N] True for the pairs on a random half of the posts, so that no post is on both sides."""
    different = list(dict.fromkeys(posts))
    order = np.random.default_rng(seed).permutation(len(different))
    first = {different[i] for i in order[: len(different) // 2]}
    return np.array([post in first for post in posts], dtype=np.bool_)


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs with a confidence in [low, high): mean confidence against accuracy."""

    low: float
    high: float
    pairs: int
    confidence: float
    accuracy: Interval


def reliability(
    confidence: Floats, correctness: Floats, posts: Sequence[str], *, resamples: int, seed: int
) -> list[ReliabilityBin]:
    """The bins that have pairs, lowest confidence first; intervals clustered by post."""
    bins = _bins(confidence)
    found = []
    for index in range(BINS):
        members = np.flatnonzero(bins == index).tolist()
        if members:
            accuracy = mean_interval(correctness[members], [posts[i] for i in members], resamples=resamples, seed=seed)
            low, high = (0.5 + 0.5 * edge / BINS for edge in (index, index + 1))
            found.append(ReliabilityBin(low, high, len(members), float(confidence[members].mean()), accuracy))
    return found


def _bins(confidence: Floats) -> NDArray[np.int64]:
    return np.clip(((confidence - 0.5) * 2 * BINS).astype(np.int64), 0, BINS - 1)


def _sigmoid(x: Floats) -> Floats:
    found: Floats = np.exp(-np.logaddexp(0.0, -x))
    return found
