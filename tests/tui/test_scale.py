import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf_console.scale import View, figure, live_view, nice_step, step_ticks, tick_texts, value_scale

finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("span", "count", "step"), [(10.0, 4, 2.5), (10.0, 5, 2.0), (0.3, 3, 0.1), (26.0, 5, 10.0), (9.0, 2, 5.0)]
)
def test_steps_are_round(span: float, count: int, step: float) -> None:
    assert math.isclose(nice_step(span, count), step)


@pytest.mark.parametrize(
    ("low", "high", "limits", "ticks"),
    [
        (0.0, 9.7, (0.0, 10.0), (0.0, 5.0, 10.0)),
        (-0.03, 2.2, (-0.5, 2.5), (0.0, 1.0, 2.0)),
        (1.0, 1.0, (0.9, 1.1), (0.9, 1.0, 1.1)),
        (120.0, 460.0, (100.0, 500.0), (200.0, 400.0)),
    ],
)
def test_limits_are_round_and_just_hold_the_values(
    low: float, high: float, limits: tuple[float, float], ticks: tuple[float, ...]
) -> None:
    scale = value_scale(low, high, 4)
    assert (scale.low, scale.high) == pytest.approx(limits)
    assert scale.ticks == pytest.approx(ticks)


@given(finite, finite, st.integers(2, 6))
def test_any_finite_values_have_a_scale(one: float, other: float, labels: int) -> None:
    scale = value_scale(min(one, other), max(one, other), labels)
    assert scale.low < scale.high
    assert len(scale.ticks) >= 2
    assert len(tick_texts(scale)) == len(scale.ticks)
    assert 0.0 <= scale.share(one) <= 1.0


def test_limits_stand_still_while_values_stay_within_them() -> None:
    assert value_scale(0.0, 8.1, 4) == value_scale(0.0, 9.9, 4)


@pytest.mark.parametrize(
    ("newest", "total", "last"),
    [
        (26, 26, 26),
        (14, 26, 26),
        (13, 26, 13),
        (1, 26, 13),
        (3, 4, 4),
        (100, 4000, 125),
        (0, 0, 8),
        (9, 0, 16),
        (30, 26, 52),
    ],
)
def test_the_view_is_the_least_half_of_the_run_that_holds_it(newest: int, total: int, last: float) -> None:
    assert live_view(newest, total) == View(0.0, last)


def test_the_rims_of_a_view_are_its_first_and_last_step() -> None:
    view = View(0.0, 20.0)
    assert [view.column(step, 11) for step in (0, 2, 10, 20, 25)] == [0, 1, 5, 10, 10]


def test_ticks_of_steps_are_whole_and_round() -> None:
    assert step_ticks(View(0.0, 26.0), 3) == [0, 10, 20]
    assert step_ticks(View(0.0, 3.25), 9) == [0, 1, 2, 3]
    assert step_ticks(View(0.0, 12000.0), 3) == [0, 5000, 10000]


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.0, 1.0, ["0.0", "0.5", "1.0"]),
        (-2.0, 4.0, ["-2", "0", "2", "4"]),
        (0.0, 40000.0, ["0", "20k", "40k"]),
        (0.0, 2e-5, ["0", "1e-5", "2e-5"]),
    ],
)
def test_labels_of_an_axis_share_a_notation(low: float, high: float, texts: list[str]) -> None:
    assert tick_texts(value_scale(low, high, 4)) == texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (26.0, "26"), (0.05, "0.050"), (1.4213, "1.421"), (45.123, "45.12"), (1234.5, "1234"),
        (1.5e7, "1.5e7"), (2e-5, "2e-5"), (-0.5, "-0.500"), (math.nan, "NaN"), (math.inf, "∞"), (-math.inf, "-∞"),
    ],
)  # fmt: skip
def test_figures_are_short(value: float, text: str) -> None:
    assert figure(value) == text


@given(finite)
def test_every_figure_fits_a_narrow_column(value: float) -> None:
    assert len(figure(value)) <= 10
