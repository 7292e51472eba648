"""A chart of some metrics over steps. Only the spans of cells that changed are sent to the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from rlhf_console.headlines import short_names
from rlhf_console.printable import printable
from rlhf_console.tui.canvas import BLANK, NON_FINITE, Cell, Scale, draw, finite_range, nice_scale, short_number

AXIS = 8
SERIES_STYLES = tuple(Style(color=color) for color in ("cyan", "yellow", "green", "magenta", "bright_blue", "white"))
DIM, ALERT, TITLE = Style(dim=True), Style(color="red", bold=True), Style(bold=True)
KEYS = "●▲■◆✚✱"


@dataclass(frozen=True)
class Line:
    """One metric: its name, steps and values."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]


Row = list[tuple[str, Style]]


class MetricChart(Widget):
    """Title with the unit, the newest values, and braille lines; NaN and infinities are a red mark in a gap."""

    DEFAULT_CSS = """
    MetricChart { width: 1fr; height: 1fr; min-height: 6; padding: 0; }
    """

    def __init__(self, title: str, unit: str = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title, self._unit = title, unit
        self._lines: list[Line] = []
        self._total_steps = 0
        self._rows: list[Row] = []

    def show(self, lines: Sequence[Line], total_steps: int) -> None:
        """Draws the lines; refreshes only what differs from what stands there."""
        self._lines, self._total_steps = list(lines), total_steps
        before, self._rows = self._rows, self._compose_rows()
        for y, row in enumerate(self._rows):
            span = _changed_span(before[y], row) if y < len(before) else (0, self.size.width)
            if span is not None:
                self.refresh(Region(span[0], y, span[1] - span[0], 1))

    def on_resize(self) -> None:
        self._rows = self._compose_rows()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        row = self._rows[y] if y < len(self._rows) else []
        return Strip([Segment(text, style) for text, style in _runs(row)]).adjust_cell_length(self.size.width)

    def _compose_rows(self) -> list[Row]:
        width, height = self.size.width, self.size.height - 3
        if width <= AXIS + 4 or height < 2:
            return []
        heading = printable(f"{self._title} ({self._unit})" if self._unit else self._title)
        rows = [_text(heading[:width], TITLE), self._legend(width)]
        extent = finite_range(line.values for line in self._lines)
        if extent is None:
            return [*rows, _text("no values yet" if not self._any_values() else "no finite value", DIM)]
        scale = nice_scale(*extent, labels=max(2, min(5, height // 2)))
        last = max(line.steps[-1] for line in self._lines if line.steps)
        span = max(self._total_steps, last)
        drawn = [(line.steps, line.values) for line in self._lines]
        grid = draw(drawn, width=width - AXIS, height=height, total_steps=span, scale=scale)
        labels = _tick_labels(scale, height)
        rows += [_text(labels.get(y, "").rjust(AXIS - 1) + "│", DIM) + _cells(row) for y, row in enumerate(grid)]
        return [*rows, _step_axis(span, width)]

    def _any_values(self) -> bool:
        return any(line.values for line in self._lines)

    def _legend(self, width: int) -> Row:
        row: Row = []
        for index, (line, name) in enumerate(zip(self._lines, short_names([x.name for x in self._lines]), strict=True)):
            value = short_number(line.values[-1]) if line.values else "-"
            row += _text(
                f"{KEYS[index % len(KEYS)]} {printable(name)} {value}  ", SERIES_STYLES[index % len(SERIES_STYLES)]
            )
        return row[:width]


def _text(text: str, style: Style) -> Row:
    return [(character, style) for character in text]


def _cells(cells: Sequence[Cell]) -> Row:
    return [(cell.character, _style_of(cell)) for cell in cells]


def _style_of(cell: Cell) -> Style:
    if cell.series == NON_FINITE:
        return ALERT
    return DIM if cell.series == BLANK else SERIES_STYLES[cell.series % len(SERIES_STYLES)]


def _tick_labels(scale: Scale, height: int) -> dict[int, str]:
    """Chart row -> label; where two fall on one row the lower value gives way."""
    span = scale.high - scale.low
    return {round((scale.high - tick) / span * (height - 1)): short_number(tick) for tick in scale.ticks}


def _step_axis(span: int, width: int) -> Row:
    left, right = "0", f"step {span}"
    gap = max(width - AXIS - len(left) - len(right), 1)
    return _text(" " * AXIS + left + " " * gap + right, DIM)


def _changed_span(before: Row, after: Row) -> tuple[int, int] | None:
    if before == after:
        return None
    shared = min(len(before), len(after))
    start = next((i for i in range(shared) if before[i] != after[i]), shared)
    end = max(len(before), len(after))
    if len(before) == len(after):
        end = next(i for i in range(end, start, -1) if before[i - 1] != after[i - 1])
    return start, end


def _runs(row: Row) -> list[tuple[str, Style]]:
    """Neighbouring cells of one style joined."""
    joined: list[tuple[str, Style]] = []
    for character, style in row:
        if joined and joined[-1][1] is style:
            joined[-1] = (joined[-1][0] + character, style)
        else:
            joined.append((character, style))
    return joined
