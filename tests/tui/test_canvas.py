import math

import pytest

from rlhf_console.tui.canvas import (
    NON_FINITE,
    Scale,
    bucket_size,
    buckets,
    draw,
    finite_range,
    nice_scale,
    short_number,
)

UNIT = Scale(0.0, 1.0, (0.0, 1.0))


def characters(values: list[float], *, width: int = 2, height: int = 1, total: int = 4) -> list[str]:
    steps = list(range(1, len(values) + 1))
    grid = draw([(steps, values)], width=width, height=height, total_steps=total, scale=UNIT)
    return ["".join(cell.character for cell in row) for row in grid]


def test_four_steps_fill_two_cells_with_one_dot_each() -> None:
    assert characters([0.0, 0.0, 0.0, 0.0]) == ["⣀⣀"]
    assert characters([1.0, 1.0, 1.0, 1.0]) == ["⠉⠉"]
    assert characters([0.0, 1 / 3, 2 / 3, 1.0]) == ["⡠⠊"]


def test_a_bucket_shows_its_least_and_greatest_value() -> None:
    assert bucket_size(8, 4) == 2
    assert bucket_size(9, 4) == 4
    assert buckets([1, 2, 3, 4], [0.0, 1.0, 0.5, 0.5], 2) == {0: (0.0, 1.0), 1: (0.5, 0.5)}
    assert characters([0.0, 1.0], width=1, total=4) == ["⡇"]


def test_columns_that_are_drawn_do_not_move_as_a_run_grows() -> None:
    early = characters([0.0, 1.0, 0.0, 1.0], width=8, total=16)[0]
    late = characters([0.0, 1.0, 0.0, 1.0, 0.5, 0.5], width=8, total=16)[0]
    assert late.startswith(early.rstrip(" ")[:2])


def test_nan_is_a_mark_in_a_gap_and_never_an_error() -> None:
    grid = draw([([1, 2, 3, 4], [0.0, math.nan, math.inf, 0.0])], width=2, height=2, total_steps=4, scale=UNIT)
    assert {cell.series for cell in grid[0]} == {NON_FINITE}
    assert grid[1][0].character == "⡀"
    assert finite_range([[math.nan, math.inf]]) is None
    assert finite_range([[math.nan, 2.0], [1.0]]) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 9.7, (0.0, 10.0)), (-0.03, 2.2, (-1.0, 3.0)), (1.0, 1.0, (0.9, 1.1)), (120.0, 460.0, (0.0, 600.0))],
)
def test_limits_are_round_and_hold_the_values(low: float, high: float, expected: tuple[float, float]) -> None:
    scale = nice_scale(low, high)
    assert scale.low <= low
    assert scale.high >= high
    assert math.isclose(scale.low, expected[0], abs_tol=1e-9)
    assert math.isclose(scale.high, expected[1], abs_tol=1e-9)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.05, "0.05"), (1234.5, "1234"), (1.5e6, "1.5e6"), (2e-5, "2.0e-5")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short_number(value) == text
