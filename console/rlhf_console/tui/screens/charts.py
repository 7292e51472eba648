"""The charts of a run: a grid of them where there is room, else one above the list of all."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.widgets import Input

from rlhf_console.headlines import Declared
from rlhf_console.runs.focus import OpenRun
from rlhf_console.tui.drawing.cells import Row, fit, spread, text_cells
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.plot import OVERLAY_LOOK, Frame, Line, marker, series_style
from rlhf_console.tui.drawing.run_panels import RunLines, axes_of, level_of, marks_of, place_on, run_panels
from rlhf_console.tui.drawing.scale import View as Stretch
from rlhf_console.tui.drawing.scale import figure, live_view
from rlhf_console.tui.screens.view import View
from rlhf_console.tui.widgets.chart import MetricChart
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_sdk.spec import Panel

CHART_WIDTH, CHART_HEIGHT = 52, 8
LISTED = 8


def grid_shape(width: int, height: int, count: int) -> tuple[int, int]:
    """Columns and rows of charts that fit; no more rows than `count` charts need."""
    columns = max(width // CHART_WIDTH, 1)
    rows = max(height // CHART_HEIGHT, 1)
    return columns, max(min(rows, -(-count // columns)), 1)


class ChartsView(View, can_focus=True):
    """One chart is chosen; enter enlarges it. All are drawn alike, so that they can be read together."""

    TITLE = "Charts"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(0, -1)", "Choose", key_display="↑↓←→"),
        Binding("down", "move(0, 1)", show=False),
        Binding("left", "move(-1, 0)", show=False),
        Binding("right", "move(1, 0)", show=False),
        Binding("pageup", "turn(-1)", show=False),
        Binding("pagedown", "turn(1)", show=False),
        Binding("enter", "enlarge", "Enlarge", id="enlarge"),
        Binding("s", "smooth", "Smooth", id="smooth"),
        Binding("l", "log", "Log", show=False, id="log"),
        Binding("w", "axis", "X axis", show=False, id="x-axis"),
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in", show=False, id="zoom-in"),
        Binding("minus", "zoom(2.0)", "Zoom out", show=False, id="zoom-out"),
        Binding("comma", "pan(-0.25)", "Pan left", show=False, id="pan-left"),
        Binding("full_stop", "pan(0.25)", "Pan right", show=False, id="pan-right"),
        Binding("0", "follow", "Follow what comes", show=False, id="follow"),
        Binding("shift+left", "point(-1)", "Crosshair left", show=False, id="crosshair-left"),
        Binding("shift+right", "point(1)", "Crosshair right", show=False, id="crosshair-right"),
        Binding("slash", "filter", "Filter", show=False, id="filter"),
    ]
    DEFAULT_CSS = f"""
    ChartsView Grid {{ height: 1fr; grid-gutter: 0 2; }}
    ChartsView PickList {{ height: {LISTED}; }}
    ChartsView Input {{ height: 1; border: none; padding: 0; display: none; }}
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run: OpenRun | None = None
        self._lines: list[RunLines] = []
        self._panels: list[Panel] = []
        self._chosen = 0
        self._pattern = ""
        self.options = ChartOptions()
        self.enlarged = False

    def compose(self) -> ComposeResult:
        yield Grid()
        panels: PickList[Panel] = PickList(self._panel_row, lambda panel: panel.title)
        panels.can_focus = False
        yield panels
        yield Input(placeholder="charts whose title or metrics match this regular expression", id="pattern")

    def show(self, run: OpenRun, declared: Declared) -> None:
        """Draws the charts that are in sight."""
        if run is not self._run:
            self._run, self._chosen, self._lines = run, 0, [RunLines(run)]
            self.options = replace(self.options, view=None, cursor=None, axis="step")
        self._panels = [panel for panel in run_panels(run, declared) if self._matches(panel)]
        self._chosen = min(self._chosen, max(len(self._panels) - 1, 0))
        self.draw()

    def overlay(self, runs: list[OpenRun]) -> None:
        """Draws these runs into the same charts."""
        known = {lines.run.live.record.id: lines for lines in self._lines[1:]}
        others = [known.get(run.live.record.id) or RunLines(run) for run in runs if run is not self._run]
        self._lines[1:] = others

    def _matches(self, panel: Panel) -> bool:
        try:
            wanted = re.compile(self._pattern, re.IGNORECASE)
        except re.error:
            return True
        return any(wanted.search(text) for text in (panel.title, *panel.metrics))

    @property
    def where(self) -> str:
        """Which charts are in sight, of how many, and how they are drawn."""
        first, in_sight = self._in_sight()
        if not self._panels:
            return "no chart matches" if self._pattern else ""
        last, count = first + len(in_sight), len(self._panels)
        places = f"{last} of {count}" if last == first + 1 else f"{first + 1}-{last} of {count}"
        filtered = f"/{self._pattern}/" if self._pattern else ""
        return "  ".join(part for part in (self.options.in_words(), filtered, places) if part)

    def _shape(self) -> tuple[int, int]:
        if self.enlarged:
            return 1, 1
        columns, rows = grid_shape(*self.size, len(self._panels))
        return (columns, rows) if columns > 1 else (1, 1)

    @property
    def _listing(self) -> bool:
        return not self.enlarged and self.size.width < 2 * CHART_WIDTH and len(self._panels) > 1

    def _in_sight(self) -> tuple[int, list[Panel]]:
        columns, rows = self._shape()
        first = self._chosen - self._chosen % (columns * rows)
        return first, self._panels[first : first + columns * rows]

    def on_resize(self) -> None:
        self.draw()

    def draw(self) -> None:
        if self._run is None:
            return
        first, in_sight = self._in_sight()
        marks = marks_of(self._run.live.summary, self.options.axis)
        for place, chart in enumerate(self._arrange(len(in_sight))):
            panel = in_sight[place]
            selected = first + place == self._chosen and self._shape() != (1, 1)
            frame = Frame(self._total, selected, self.options, marks, level_of(self._run, panel))
            chart.follow(panel, self._panel_lines(panel), frame)
        self._draw_list()

    @property
    def _total(self) -> int:
        """Length of the x axis; 0 where it is not known."""
        return self._run.live.summary.total_steps if self._run and self.options.axis == "step" else 0

    def _panel_lines(self, panel: Panel) -> list[Line]:
        if not self._lines:
            return []
        lines = self._lines[0].of(panel, self.options)
        for number, other in enumerate(self._lines[1:]):
            name = other.run.live.record.id
            lines += other.of(panel, self.options, name=name, look=OVERLAY_LOOK + number)
        return lines

    def _arrange(self, count: int) -> list[MetricChart]:
        """As many charts as are in sight, in the grid's shape."""
        grid = self.query_one(Grid)
        grid.styles.grid_size_columns, grid.styles.grid_size_rows = self._shape()
        charts = list(grid.query(MetricChart))
        new = [MetricChart() for _ in range(count - len(charts))]
        if new:
            grid.mount_all(new)
        for place, chart in enumerate(charts):
            chart.display = place < count
        return [*charts, *new][:count]

    def _draw_list(self) -> None:
        panels = self.query_one(PickList)
        panels.display = self._listing
        if self._listing:
            panels.show(self._panels)
            panels.go(self._chosen)

    def _panel_row(self, panel: Panel, width: int) -> Row:
        lines = [line for line in self._panel_lines(panel) if not line.faint]
        unit = text_cells(f" ({panel.unit})" if panel.unit else "", "dim")
        newest = [cell for line in lines for cell in _newest(line)]
        return fit(spread(text_cells(f" {panel.title}") + unit, newest, width), width)

    def go_back(self) -> bool:
        if self.options.cursor is not None:
            self._draw_with(replace(self.options, cursor=None))
        elif self.enlarged:
            self.action_enlarge()
        else:
            return False
        return True

    def _draw_with(self, options: ChartOptions) -> None:
        self.options = options
        self.draw()

    def _extent(self) -> tuple[Stretch, float]:
        """The whole of what there is to see, and its newest place."""
        assert self._run is not None
        place, series = place_on(self.options.axis, self._run.live.summary), self._run.live.summary.metrics.values()
        newest = max((place(each.steps[-1], each.times[-1]) for each in series if each.steps), default=0.0)
        return live_view(newest, self._total), newest

    def action_smooth(self) -> None:
        self._draw_with(self.options.with_next_smoothing())

    def action_log(self) -> None:
        self._draw_with(replace(self.options, log=not self.options.log))

    def action_axis(self) -> None:
        if self._run is not None:
            self._draw_with(self.options.with_next_axis(axes_of(self._run)))

    def action_zoom(self, factor: float) -> None:
        self._draw_with(self.options.zoomed(*self._extent(), factor))

    def action_pan(self, share: float) -> None:
        self._draw_with(self.options.panned(self._extent()[0], share))

    def action_follow(self) -> None:
        self._draw_with(replace(self.options, view=None, cursor=None))

    def action_point(self, by: int) -> None:
        self._draw_with(self.options.pointed(*self._extent(), by))

    def action_filter(self) -> None:
        field = self.query_one("#pattern", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#pattern")
    def _pattern_changed(self, message: Input.Changed) -> None:
        self._pattern, self._chosen = message.value, 0

    @on(Input.Submitted, "#pattern")
    def _pattern_chosen(self) -> None:
        self.query_one("#pattern", Input).display = False
        self.focus()

    def action_move(self, right: int, down: int) -> None:
        columns, _ = self._shape()
        self._choose(self._chosen + right + down * columns)

    def action_turn(self, by: int) -> None:
        columns, rows = self._shape()
        self._choose(self._chosen + by * columns * rows)

    def action_enlarge(self) -> None:
        self.enlarged = not self.enlarged
        self.draw()

    def _choose(self, index: int) -> None:
        self._chosen = min(max(index, 0), max(len(self._panels) - 1, 0))
        self.draw()

    @on(PickList.Moved)
    def _list_moved(self, message: PickList.Moved) -> None:
        message.stop()
        self._choose(message.source.cursor)

    @on(MetricChart.Chosen)
    def _chart_clicked(self, message: MetricChart.Chosen) -> None:
        message.stop()
        self._choose(self._panels.index(message.panel))
        if message.times > 1:
            self.action_enlarge()


def _newest(line: Line) -> Row:
    value = figure(line.newest) if line.newest is not None else "-"
    return text_cells(f" {marker(line.look)} ", series_style(line.look)) + text_cells(value, "bold")
