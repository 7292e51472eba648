"""The forecast on simulated series: rising, flat, noisy, sawtooth."""

from __future__ import annotations

import math
import random

import pytest

from rlhf_sdk.memory_forecast import FEWEST, slope_of, steps_until

LIMIT = 100.0


def noisy(level: float, noise: float, steps: int, seed: int, slope: float = 0.0) -> list[float]:
    source = random.Random(seed)
    return [level + slope * step + source.gauss(0.0, noise) for step in range(steps)]


def first_alarm(peaks: list[float]) -> tuple[int, float] | None:
    """(step, steps left) of the first forecast, as a run sees it: after every step, with what it knows by then."""
    for step in range(1, len(peaks) + 1):
        left = steps_until(LIMIT, peaks[:step])
        if left is not None:
            return step, left
    return None


@pytest.mark.parametrize(("level", "slope"), [(20.0, 1.0), (50.0, 0.5), (90.0, 0.125)])
def test_a_straight_rise_is_forecast_exactly(level: float, slope: float) -> None:
    peaks = [level + slope * step for step in range(FEWEST)]
    assert steps_until(LIMIT, peaks) == pytest.approx((LIMIT - peaks[-1]) / slope)


def test_forty_steps_before_the_end_it_says_about_forty() -> None:
    """0.5 a step with noise of 1: after 120 steps at 80, the limit is 40 steps away."""
    for seed in range(5):
        left = steps_until(LIMIT, noisy(20.0, 1.0, 121, seed, slope=0.5))
        assert left is not None and 30 <= left <= 45


def test_a_slow_rise_under_much_noise_shows_in_the_long_run() -> None:
    """0.04 a step under noise of 2: invisible in 40 steps."""
    for seed in range(5):
        peaks = noisy(20.0, 2.0, 1500, seed, slope=0.04)
        assert steps_until(LIMIT, peaks) == pytest.approx((LIMIT - 80.0) / 0.04, rel=0.35)


@pytest.mark.parametrize("seed", range(5))
def test_flat_and_noisy_never_alarms(seed: int) -> None:
    assert first_alarm(noisy(70.0, 5.0, 400, seed)) is None


@pytest.mark.parametrize("level", [0.0, 50.0, 99.9])
def test_flat_never_alarms(level: float) -> None:
    assert first_alarm([level] * 200) is None


@pytest.mark.parametrize("period", range(3, FEWEST))
def test_a_sawtooth_never_alarms(period: int) -> None:
    """Rises from 30 to 90 and falls back, as a cache does that is emptied."""
    teeth = [30.0 + 60.0 * (step % period) / period for step in range(200)]
    assert first_alarm(teeth) is None


def test_a_long_sawtooth_is_quiet_once_it_has_fallen_back() -> None:
    period = 25
    teeth = [30.0 + 20.0 * (step % period) / period for step in range(12 * period)]
    assert [steps_until(LIMIT, teeth[:step]) for step in range(6 * period, len(teeth), 7)] == [None] * 22


def test_a_step_up_and_a_single_outlier_are_no_trend() -> None:
    assert first_alarm([30.0] * 60 + [60.0] * 60) is None
    assert first_alarm([30.0] * 30 + [95.0] + [30.0] * 60) is None


def test_growth_that_has_ended_is_no_trend_any_more() -> None:
    peaks = [30.0 + min(step, 20) for step in range(400)]
    assert steps_until(LIMIT, peaks) is None


def test_falling_never_alarms() -> None:
    assert first_alarm([90.0 - 0.2 * step for step in range(200)]) is None


def test_a_limit_that_is_passed_is_zero_steps_away() -> None:
    assert steps_until(50.0, [40.0 + step for step in range(20)]) == 0.0


def test_nothing_is_said_of_a_trend_that_would_need_far_longer_than_it_was_seen() -> None:
    assert steps_until(LIMIT, [1e-3 * step for step in range(40)]) is None


def test_outliers_do_not_move_the_slope() -> None:
    values = [2.0 * place for place in range(21)]
    values[4], values[15] = 500.0, -500.0
    assert math.isclose(slope_of(values), 2.0)


def test_nothing_is_foretold_of_nothing() -> None:
    assert steps_until(10.0, []) is None
