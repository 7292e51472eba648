"""Calibration against simulators whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import Generator

from rlhf_engine.eval.calibration import (
    calibration_error_floor,
    confidences,
    expected_calibration_error,
    fit_temperature,
    half_of_posts,
    reliability,
)
from rlhf_engine.eval.intervals import Floats, mean_interval


def simulated(rng: Generator, count: int, temperature: float) -> Floats:
    """Margins of a model whose labels follow sigmoid(margin / temperature): chosen less rejected."""
    margins = rng.normal(0.0, 2.0 * temperature, size=count)
    first_is_preferred = rng.random(count) < 1.0 / (1.0 + np.exp(-margins / temperature))
    return np.where(first_is_preferred, margins, -margins)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_planted_temperature_is_recovered(temperature: float) -> None:
    margins = simulated(np.random.default_rng(1), 20_000, temperature)
    assert fit_temperature(margins) == pytest.approx(temperature, rel=0.06)


def test_margins_that_all_agree_or_all_disagree_reach_the_ends() -> None:
    assert fit_temperature(np.array([1.0, 2.0])) == pytest.approx(1e-3)
    assert fit_temperature(np.array([-1.0, -2.0])) == pytest.approx(1e3)
    with pytest.raises(ValueError, match="no margins"):
        fit_temperature(np.array([]))


def test_the_temperature_of_two_margins_solves_the_likelihood_equation() -> None:
    """Of margins 2 and -1: 2 sigmoid(-2/T) = sigmoid(1/T), which has one root."""
    b = 1.0 / fit_temperature(np.array([2.0, -1.0]))
    assert 2.0 / (1.0 + np.exp(2.0 * b)) == pytest.approx(1.0 / (1.0 + np.exp(-b)))


def test_a_calibrated_simulator_has_the_error_of_its_floor_and_an_overconfident_one_more() -> None:
    rng = np.random.default_rng(2)
    margins = simulated(rng, 20_000, 1.0)
    correct = (margins > 0).astype(np.float64)
    confidence = confidences(margins)
    floor = calibration_error_floor(confidence, draws=50, seed=0)
    assert expected_calibration_error(confidence, correct) < 2 * floor < 0.02
    assert expected_calibration_error(confidences(margins, 0.25), correct) > 0.1


def test_the_error_of_a_model_that_is_always_sure_is_its_share_of_mistakes() -> None:
    correct = np.array([1.0, 1.0, 1.0, 0.0])
    assert expected_calibration_error(np.ones(4), correct) == pytest.approx(0.25)
    assert expected_calibration_error(np.full(4, 0.5), np.full(4, 0.5)) == 0.0


def test_no_post_is_on_both_sides() -> None:
    posts = [str(i // 3) for i in range(60)]
    first = half_of_posts(posts, seed=4)
    sides = {post: {bool(side) for side, other in zip(first, posts, strict=True) if other == post} for post in posts}
    assert all(len(side) == 1 for side in sides.values())
    assert first.sum() == 30
    assert not np.array_equal(first, half_of_posts(posts, seed=5))


def test_bins_cover_every_pair_with_its_own_mean_confidence() -> None:
    confidence = np.array([0.5, 0.52, 0.99, 1.0])
    bins = reliability(confidence, np.array([0.0, 1.0, 1.0, 0.5]), list("abcd"), resamples=100, seed=0)
    assert [(part.low, part.pairs, part.accuracy.mean) for part in bins] == [(0.5, 2, 0.5), (0.95, 2, 0.75)]
    assert bins[0].confidence == pytest.approx(0.51)


def test_clustered_intervals_cover_the_truth_where_plain_ones_do_not() -> None:
    """20 posts of 10 pairs that are all right or all wrong together: true accuracy 0.7."""
    rng = np.random.default_rng(3)
    covered = {"clustered": 0, "plain": 0}
    for trial in range(120):
        values = np.repeat((rng.random(20) < 0.7).astype(np.float64), 10)
        clusters = {"clustered": [row // 10 for row in range(200)], "plain": list(range(200))}
        for name, ids in clusters.items():
            interval = mean_interval(values, ids, resamples=200, seed=trial)
            covered[name] += interval.low <= 0.7 <= interval.high
    assert covered["clustered"] / 120 > 0.85
    assert covered["plain"] / 120 < 0.65
