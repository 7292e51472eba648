"""The axes of a chart: labels of values, places and times along the bottom, and marks for what happened there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlhf_console.scale import View, clock_ticks, step_ticks
from rlhf_console.tui.drawing.cells import Row, fit, text_cells
from rlhf_console.tui.drawing.chart_options import Axis, ChartOptions

AXIS = 8
"""Columns for the labels of the y axis, and the axis."""

LABEL_EVERY = 12
NON_FINITE_MARK = "×"
WORDS: dict[Axis, str] = {"step": " step", "episode": " episode", "wall": " since start"}


@dataclass(frozen=True)
class Mark:
    """Something that happened at a place on the x axis."""

    x: float
    glyph: str
    style: str


def value_axis(label: str | None) -> Row:
    if label is None:
        return text_cells(" " * (AXIS - 1) + "│", "dim")
    return text_cells(label[: AXIS - 2].rjust(AXIS - 2) + " ┤", "dim")


def x_axis(view: View, width: int, options: ChartOptions, marks: Sequence[Mark], broken: Iterable[int]) -> Row:
    """The bottom row, with places written into it; `broken` are the columns with values that are not finite."""
    axis = fit(text_cells(" " * (AXIS - 1) + "└" + "─" * (width - AXIS), "dim"), width)
    word = WORDS[options.axis]
    room = width - len(word)
    _write(axis, width, word, last=width)
    ticks = clock_ticks if options.axis == "wall" else step_ticks
    for tick in ticks(view, max((width - AXIS) // LABEL_EVERY, 1)):
        _write(axis, _column(view, tick, width), place_text(tick, options.axis), last=room)
    for mark in marks:
        column = _column(view, mark.x, width)
        if view.first <= mark.x <= view.last and column < room:
            axis[column] = mark.glyph, mark.style
    for column in broken:
        axis[AXIS + column] = NON_FINITE_MARK, "alarm"
    if options.cursor is not None and view.first <= options.cursor <= view.last:
        _write(axis, _column(view, options.cursor, width), place_text(options.cursor, options.axis), width, "accent")
    return axis


def _column(view: View, place: float, width: int) -> int:
    return AXIS + view.column(place, (width - AXIS) * 2) // 2


def place_text(place: float, axis: Axis) -> str:
    """1 200, or 2 h 5 min on the wall clock."""
    if axis != "wall":
        return f"{round(place):,}".replace(",", " ")
    seconds = round(place)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours}h{minutes:02}" if hours else f"{minutes}:{seconds % 60:02}"


def _write(axis: Row, at: int, text: str, last: int, style: str = "dim") -> None:
    """Writes a label around the column `at`, or as near as it may stand; not behind the column `last`."""
    start = min(max(at - len(text) // 2, AXIS), len(axis) - len(text))
    if start + len(text) <= last:
        axis[start : start + len(text)] = text_cells(text, style)
