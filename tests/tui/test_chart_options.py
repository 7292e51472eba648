"""Zoom, pan, crosshair, smoothing and other axes, as figures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf_console.runs.series import Series
from rlhf_console.scale import View
from rlhf_console.tui.drawing.axes import AXIS, Mark, place_text, x_axis
from rlhf_console.tui.drawing.chart_options import CLOSEST, SMOOTHINGS, ChartOptions
from rlhf_console.tui.drawing.derived import Derived, by_step
from rlhf_console.tui.drawing.lines import Line
from rlhf_console.tui.drawing.overlaid import short_ids
from rlhf_console.tui.drawing.plot import Frame, Plot, Target

WHOLE = View(0.0, 100.0)
finite = st.floats(-1e6, 1e6)


def series(values: list[float]) -> Series:
    steps = range(1, len(values) + 1)
    return Series.of(steps, values, [10.0 * step for step in steps])


def smoothed(values: list[float], weight: float) -> list[float]:
    derived = Derived(by_step, weight)
    derived.follow(series(values))
    return list(derived.values)


def test_the_average_is_the_weighted_mean_of_what_came_so_far() -> None:
    weights = [0.9**2, 0.9, 1.0]
    expected = sum(w * v for w, v in zip(weights, [3.0, 1.0, 7.0], strict=True)) / sum(weights)
    assert smoothed([3.0, 1.0, 7.0], 0.9)[-1] == pytest.approx(expected)


@given(value=finite, count=st.integers(1, 50), weight=st.sampled_from(SMOOTHINGS))
def test_a_constant_stays_what_it_is(value: float, count: int, weight: float) -> None:
    assert smoothed([value] * count, weight) == pytest.approx([value] * count, rel=1e-6, abs=1e-6)


@given(values=st.lists(finite, min_size=1, max_size=40), weight=st.sampled_from(SMOOTHINGS))
def test_an_average_lies_within_what_it_is_of(values: list[float], weight: float) -> None:
    found = smoothed(values, weight)
    assert min(values) - 1e-6 <= min(found) and max(found) <= max(values) + 1e-6


def test_nan_stays_a_gap_and_is_left_out_of_the_average() -> None:
    found = smoothed([1.0, math.nan, 1.0], 0.9)
    assert found[0] == pytest.approx(1.0) and math.isnan(found[1]) and found[2] == pytest.approx(1.0)


def test_what_was_superseded_is_derived_anew() -> None:
    derived, before = Derived(by_step, 0.6), series([1.0, 2.0, 3.0])
    derived.follow(before)
    before.add(2, 5.0, 20.0)
    derived.follow(before)
    assert list(derived.xs) == [1, 2] and list(derived.values) == smoothed([1.0, 5.0], 0.6)


def test_zooming_in_keeps_the_cursor_where_it_is_and_out_again_follows() -> None:
    options = ChartOptions(cursor=50.0).zoomed(WHOLE, 100.0, 0.5)
    assert options.view == View(25.0, 75.0)
    assert options.zoomed(WHOLE, 100.0, 0.5).view == View(37.5, 62.5)
    assert options.zoomed(WHOLE, 100.0, 2.0).view is None
    closest = options
    for _ in range(20):
        closest = closest.zoomed(WHOLE, 100.0, 0.5)
    assert closest.view is not None and closest.view.last - closest.view.first == CLOSEST


def test_panning_stops_at_the_ends() -> None:
    options = ChartOptions(view=View(40.0, 60.0))
    assert options.panned(WHOLE, 0.25).view == View(45.0, 65.0)
    assert options.panned(WHOLE, 100.0).view == View(80.0, 100.0)
    assert options.panned(WHOLE, -100.0).view == View(0.0, 20.0)
    assert ChartOptions().panned(WHOLE, 0.25) == ChartOptions()


def test_the_crosshair_begins_at_the_newest_place_and_stays_within_what_there_is() -> None:
    options = ChartOptions().pointed(WHOLE, 30.0, -1)
    assert options.cursor == 30.0
    assert options.pointed(WHOLE, 30.0, -1).cursor == 29.0
    assert options.pointed(WHOLE, 30.0, 5).cursor == 30.0
    assert options.pointed(WHOLE, 30.0, -99).cursor == 0.0


def test_another_axis_forgets_places_on_the_one_before() -> None:
    options = ChartOptions(view=View(1.0, 2.0), cursor=1.0).with_next_axis(("step", "wall"))
    assert (options.axis, options.view, options.cursor) == ("wall", None, None)
    assert options.with_next_axis(("step", "wall")).axis == "step"


def text(rows: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(cell for cell, _ in row) for row in rows]


def plotted(values: list[float], **options: object) -> list[str]:
    line = Line("m", list(range(1, len(values) + 1)), values, newest=values[-1])
    frame = Frame(total=len(values), options=ChartOptions(**options))  # type: ignore[arg-type]
    return text(Plot("Loss", "nats").rows([line], frame, 60, 12))


def test_on_a_log_scale_each_decade_is_as_high_as_the_other() -> None:
    rows = plotted([1.0, 10.0, 100.0, 1000.0], log=True)
    labels = {row[:AXIS].strip(" ┤│"): y for y, row in enumerate(rows) if "┤" in row}
    assert labels["1"] - labels["10"] == pytest.approx(labels["10"] - labels["100"], abs=1)
    assert "log" in rows[0]


def test_what_has_no_logarithm_is_marked_like_nan() -> None:
    assert "×" in plotted([1.0, -1.0, 0.0, 10.0], log=True)[-1]
    assert "×" not in plotted([1.0, -1.0, 0.0, 10.0])[-1]


def test_at_the_crosshair_the_legend_has_the_value_of_that_place() -> None:
    rows = plotted([5.0, 7.0, 11.0, 13.0], cursor=2.0)
    assert "7" in rows[0] and "13" not in rows[0]
    assert any("┊" in row for row in rows[1:-1])


def test_a_target_is_a_dotted_line_where_it_is_in_sight() -> None:
    line = Line("kl", [1, 2], [0.0, 10.0], newest=10.0)
    inside = text(Plot("KL").rows([line], Frame(total=8, target=Target(6.0, 3.0, 9.0)), 60, 20))
    beyond = text(Plot("KL").rows([line], Frame(total=8, target=Target(60.0, 48.0, 72.0)), 60, 20))
    order = [glyph for row in inside for glyph in "┄┈" if glyph * 3 in row]
    assert order == ["┈", "┄", "┈"] and not any("┄" in row or "┈" in row for row in beyond)


def test_marks_stand_where_it_happened_and_never_over_the_axis_word() -> None:
    marks = [Mark(50.0, "!", "alarm"), Mark(100.0, "‖", "warn"), Mark(300.0, "◆", "accent")]
    axis = "".join(cell for cell, _ in x_axis(WHOLE, 60, ChartOptions(), marks, []))
    assert axis.index("!") == pytest.approx(AXIS + (60 - AXIS) / 2, abs=1)
    assert "‖" not in axis and "◆" not in axis and axis.endswith(" step")


@pytest.mark.parametrize(("place", "said"), [(59.0, "0:59"), (3599.0, "59:59"), (7500.0, "2h05")])
def test_places_on_the_clock_are_times(place: float, said: str) -> None:
    assert place_text(place, "wall") == said
    assert place_text(1234.0, "step") == "1 234"


def test_runs_drawn_over_another_are_called_by_their_names_where_these_differ() -> None:
    base, ppo, dpo = "base-20261121-101500-3fa9", "demo-20261121-101500-3fa9.ppo", "demo-20261121-101500-3fa9.dpo"
    assert short_ids([base, ppo, dpo]) == ["base", "demo.ppo", "demo.dpo"]
    again = "base-20261122-090000-0001"
    assert short_ids([base, again, "named by hand"]) == [base, again, "named by hand"]
