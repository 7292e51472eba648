"""A chart as rows of cells: heading with the unit, values, lines between labelled axes, marks for what happened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlhf_console.scale import Scale, View, figure, live_view, tick_texts, value_scale
from rlhf_console.tui.drawing.axes import AXIS, Mark, value_axis, x_axis
from rlhf_console.tui.drawing.bands import BandColumns, draw_band, with_bands
from rlhf_console.tui.drawing.canvas import Canvas, dot_row, draw_columns
from rlhf_console.tui.drawing.cells import GAP, Row, fit, join, spread, text_cells
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.columns import Columns
from rlhf_console.tui.drawing.legend import legend
from rlhf_console.tui.drawing.lines import Line, marker, series_style

SMALLEST = (AXIS + 8, 5)
CROSSHAIR, TARGET, TARGET_EDGE = "┊", "┄", "┈"


@dataclass(frozen=True)
class Target:
    """A value that is steered to, and the band around it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Frame:
    """What is drawn besides the lines; `total` is the length of the x axis (0: unknown)."""

    total: int = 0
    selected: bool = False
    options: ChartOptions = field(default_factory=ChartOptions)
    marks: Sequence[Mark] = ()
    target: Target | None = None


class Plot:
    """Some metrics in one chart. Keeps what it gathered from one drawing to the next."""

    def __init__(self, title: str, unit: str = "") -> None:
        self.title, self.unit = title, unit
        self._columns: list[Columns] = []
        self._bands: list[BandColumns] = []
        self._gathered: tuple[object, ...] = ()
        self._view: View | None = None

    def rows(self, lines: Sequence[Line], frame: Frame, width: int, height: int) -> list[Row]:
        """`height` rows of `width` cells."""
        head = self._heading(lines, frame, width)
        if width < SMALLEST[0] or height < SMALLEST[1]:
            return [fit(row, width) for row in [*head, *([[]] * height)][:height]]
        view = self._view = self._gather(lines, frame, width - AXIS)
        ranges = [found for columns in self._columns if (found := columns.range) is not None]
        body = height - len(head) - 1
        if not ranges:
            return [fit(row, width) for row in [*head, *self._nothing(lines, body), []]]
        low, high = with_bands(min(low for low, _ in ranges), max(high for _, high in ranges), self._bands)
        scale = value_scale(low, high, max(2, min(6, body // 2)))
        broken = {column // 2 for columns in self._columns for column in columns.non_finite}
        axis = x_axis(view, width, frame.options, frame.marks, broken)
        return [*head, *self._body(lines, frame, scale, view, width - AXIS, body), axis]

    def place_at(self, x: int, width: int) -> float | None:
        """Where column `x` of the `width` drawn last lies on the x axis; None beside the lines."""
        cells = width - AXIS
        if self._view is None or not 0 <= x - AXIS < cells:
            return None
        return self._view.first + (x - AXIS) / max(cells - 1, 1) * (self._view.last - self._view.first)

    def _gather(self, lines: Sequence[Line], frame: Frame, cells: int) -> View:
        """Sorts the points that are in sight into the canvas's dot columns."""
        newest = max((line.xs[-1] for line in lines if line.xs), default=0.0)
        view = frame.options.view or live_view(newest, frame.total)
        log = frame.options.log
        wanted = (view, cells, log, [(line.name, line.faint, line.band is None) for line in lines])
        if wanted != self._gathered:
            self._gathered = wanted
            self._columns = [Columns(view, cells * 2, log=log) for _ in lines]
            self._bands = [BandColumns(view, cells * 2, log=log) for _ in lines]
        for columns, band, line in zip(self._columns, self._bands, lines, strict=True):
            columns.follow(line.xs, line.values, line.revision)
            band.follow(line)
        return view

    def _heading(self, lines: Sequence[Line], frame: Frame, width: int) -> list[Row]:
        """Title, unit and values in one row if they fit, else in two."""
        title = join([
            text_cells("▸" if frame.selected else " ", "accent"),
            text_cells(self.title, "title"),
            text_cells(f"({self.unit})" if self.unit else "", "dim"),
            text_cells("log" if frame.options.log else "", "dim"),
        ], gap=1)  # fmt: skip
        values = legend([line for line in lines if line.in_legend], frame.options.cursor)
        if len(title) + GAP + len(values) <= width:
            return [spread(title, values, width)]
        return [fit(title, width), fit(text_cells("  ") + values, width)]

    def _nothing(self, lines: Sequence[Line], height: int) -> list[Row]:
        said = any(line.values for line in lines)
        text = text_cells("no finite value" if said else "no values yet", "alarm" if said else "dim")
        return [[(" ", "")] * AXIS + text if row == height // 2 else [] for row in range(height)]

    def _body(
        self, lines: Sequence[Line], frame: Frame, scale: Scale, view: View, width: int, height: int
    ) -> list[Row]:
        canvas = Canvas(width, height)
        for line, band in zip(lines, self._bands, strict=True):
            draw_band(canvas, band, scale, line.look)
        heads = []
        for line, columns in zip(lines, self._columns, strict=True):
            style = "faint" if line.faint else series_style(line.look)
            heads.append((line, draw_columns(canvas, columns, scale, style)))
        for line, head in heads:
            if head is not None and line.in_legend:
                canvas.put(*head, marker(line.look), series_style(line.look))
        _draw_target(canvas, frame, scale)
        _draw_crosshair(canvas, frame.options.cursor, view)
        log = frame.options.log
        texts = [figure(10.0**tick) for tick in scale.ticks] if log else tick_texts(scale)
        labels = {dot_row(tick, scale, canvas) // 4: text for tick, text in zip(scale.ticks, texts, strict=True)}
        return [value_axis(labels.get(y)) + row for y, row in enumerate(canvas.rows())]


def _draw_target(canvas: Canvas, frame: Frame, scale: Scale) -> None:
    """Dotted lines at the target and at the edges of its band."""
    if frame.target is None:
        return
    target = frame.target
    for value, glyph in ((target.value, TARGET), (target.low, TARGET_EDGE), (target.high, TARGET_EDGE)):
        _draw_level(canvas, value, glyph, scale, log=frame.options.log)


def _draw_level(canvas: Canvas, value: float, glyph: str, scale: Scale, *, log: bool) -> None:
    """Where it is in sight and nothing else stands."""
    if log:
        value = math.log10(value) if value > 0 else math.nan
    if scale.low <= value <= scale.high:
        row = dot_row(value, scale, canvas) // 4
        for column in range(canvas.width):
            if canvas.is_blank(row, column):
                canvas.put(column * 2, row * 4, glyph, "warn")


def _draw_crosshair(canvas: Canvas, cursor: float | None, view: View) -> None:
    if cursor is None or not view.first <= cursor <= view.last:
        return
    column = view.column(cursor, canvas.width * 2) // 2
    for row in range(canvas.height):
        if canvas.is_blank(row, column):
            canvas.put(column * 2, row * 4, CROSSHAIR, "accent")
