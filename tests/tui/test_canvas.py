import itertools
import math
import random

from rlhf_console.scale import Scale, View
from rlhf_console.tui.drawing.canvas import Canvas, draw_columns
from rlhf_console.tui.drawing.columns import Columns

UNIT = Scale(0.0, 1.0, (0.0, 1.0))


def characters(values: list[float], *, width: int = 2, height: int = 1, last: int = 3) -> list[str]:
    """The lines of `values` at steps 0, 1, 2, ... between step 0 and `last`."""
    columns = Columns(View(0.0, float(last)), width * 2)
    columns.follow(range(len(values)), values)
    canvas = Canvas(width, height)
    draw_columns(canvas, columns, UNIT, "")
    return ["".join(text for text, _ in row) for row in canvas.rows()]


def test_one_dot_a_step_where_they_fit() -> None:
    assert characters([0.0, 0.0, 0.0, 0.0]) == ["⣀⣀"]
    assert characters([1.0, 1.0, 1.0, 1.0]) == ["⠉⠉"]
    assert characters([0.0, 1 / 3, 2 / 3, 1.0]) == ["⡠⠊"]


def test_few_steps_are_joined_by_straight_lines() -> None:
    assert characters([0.0, 1.0], last=1) == ["⡠⠊"]


def test_a_column_of_many_steps_spans_their_values() -> None:
    assert characters([0.0, 1.0], width=1, last=1000) == ["⡇"]


def test_a_later_line_covers_an_earlier_one_in_a_shared_cell() -> None:
    canvas = Canvas(2, 1)
    canvas.line((0, 0), (3, 0), "first")
    canvas.line((0, 3), (1, 3), "second")
    assert canvas.rows() == [[("⣀", "second"), ("⠉", "first")]]


def test_a_marker_covers_its_cell() -> None:
    canvas = Canvas(2, 2)
    canvas.line((0, 7), (3, 7), "line")
    canvas.put(3, 7, "●", "line")
    assert canvas.rows()[1] == [("⣀", "line"), ("●", "line")]


def test_nan_is_a_gap() -> None:
    assert characters([0.0, math.nan, 0.0, 0.0]) == ["⡀⣀"]


def test_drawing_four_figures_a_column_is_drawing_every_point() -> None:
    """The M4 property: the same picture as all points joined, each in its column."""
    randomness = random.Random(1)
    values = [randomness.random() for _ in range(500)]
    columns = Columns(View(0.0, 499.0), 40)
    columns.follow(range(500), values)
    gathered, every = Canvas(20, 5), Canvas(20, 5)
    draw_columns(gathered, columns, UNIT, "")
    points = [(View(0.0, 499.0).column(step, 40), round((1 - value) * 19)) for step, value in enumerate(values)]
    for start, end in itertools.pairwise(points):
        every.line(start, end, "")
    assert gathered.rows() == every.rows()
