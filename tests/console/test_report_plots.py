"""Plots of the report: to scale, with gaps, few strokes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest

from rlhf_console.report.plot import COLOURS, Guide, Line, plot
from rlhf_console.svg import Picture, Point, svg_of


def curve(drawn: Picture) -> list[Sequence[Point]]:
    """The strokes of the first line."""
    return [stroke.points for stroke in drawn.strokes if stroke.colour == COLOURS[0]]


def test_a_plot_is_well_formed_and_to_scale() -> None:
    """0, 5, 10 between the ticks 0 and 10: the middle one in the middle; the guide where its value is."""
    drawn = plot("a < b", "nats", [Line("one & only", [0, 1, 2], [0.0, 5.0, 10.0])], [Guide(5.0, "target")])
    assert ElementTree.fromstring(svg_of(drawn, "a < b")).tag.endswith("svg")
    ((_, low), (middle_x, middle), (last_x, high)) = curve(drawn)[0]
    assert middle == pytest.approx((low + high) / 2) and low > high
    assert middle_x == pytest.approx((56 + last_x) / 2)
    (guide,) = [stroke for stroke in drawn.strokes if stroke.dashes]
    assert {y for _, y in guide.points} == {middle}
    assert "target: 5" in [label.text for label in drawn.labels]


def test_an_upright_guide_stands_at_its_place_and_a_dotted_line_has_its_dots() -> None:
    """x from 0 to 1.5 between round ticks; the guide stands where the middle dot is."""
    line = Line("gold", [0.0, 0.75, 1.5], [1.0, 3.0, 2.0], dotted=True)
    drawn = plot("curve", "", [line], [Guide(0.75, "peak", upright=True)], x_label="sqrt(KL)")
    whole, *dots = curve(drawn)
    assert [list(points) for points in dots] == [[point] for point in whole]
    (guide,) = [stroke for stroke in drawn.strokes if stroke.dashes]
    assert {x for x, _ in guide.points} == {whole[1][0]}
    assert {"peak: 0.750", "sqrt(KL)", "0.5", "1.5"} <= {label.text for label in drawn.labels}


def test_a_value_that_is_not_finite_is_a_gap_and_a_point_alone_a_dot() -> None:
    drawn = plot("", "", [Line("x", range(5), [1.0, math.nan, 2.0, 3.0, math.inf])])
    assert [len(piece) for piece in curve(drawn)] == [1, 2]


def test_a_million_points_are_drawn_as_few_with_their_extremes() -> None:
    values = [0.0] * 100_000
    values[54_321] = 7.0
    (piece,) = curve(plot("", "", [Line("x", range(len(values)), values)]))
    assert len(piece) < 2500 and min(y for _, y in piece) < 100
