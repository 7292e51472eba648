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
from rlhf_console.printable import printable
from rlhf_console.runs.focus import OpenRun
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.places import axes_of
from rlhf_console.tui.drawing.plot import OVERLAY_LOOK, Frame, Line
from rlhf_console.tui.drawing.run_panels import RunLines, marks_of, panel_row, run_panels, target_of
from rlhf_console.tui.layouts import Layout, Layouts
from rlhf_console.tui.screens.chart_keys import ChartKeys
from rlhf_console.tui.widgets.chart import MetricChart
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_sdk.spec import Panel
from rlhf_sdk.trainer import UserError

CHART_WIDTH, CHART_HEIGHT = 52, 8
LISTED = 8


def grid_shape(width: int, height: int, count: int) -> tuple[int, int]:
    """Columns and rows of charts that fit; no more rows than `count` charts need."""
    columns = max(width // CHART_WIDTH, 1)
    rows = max(height // CHART_HEIGHT, 1)
    return columns, max(min(rows, -(-count // columns)), 1)


class ChartsView(ChartKeys):
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
        Binding("slash", "filter", "Filter", show=False, id="filter"),
        Binding("h", "hide", "Hide this chart", show=False, id="hide-chart"),
        Binding("H", "show_hidden", "Show hidden charts", show=False, id="show-hidden-charts"),
    ]
    DEFAULT_CSS = f"""
    ChartsView Grid {{ height: 1fr; grid-gutter: 0 2; }}
    ChartsView PickList {{ height: {LISTED}; }}
    ChartsView Input {{ height: 1; border: none; padding: 0; display: none; }}
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[RunLines] = []
        self._panels: list[Panel] = []
        self._chosen = 0
        self._layouts = Layouts()
        self._pattern = ""
        self._hidden: tuple[str, ...] = ()
        self._to_enlarge = ""
        self.enlarged = False

    def compose(self) -> ComposeResult:
        yield Grid()
        panels: PickList[Panel] = PickList(self._panel_row, lambda panel: panel.title)
        panels.can_focus = False
        yield panels
        yield Input(placeholder="charts whose title or metrics match this regular expression", id="pattern")

    def show(self, run: OpenRun, declared: Declared) -> None:
        """Draws the charts that are in sight."""
        if run is not self.run:
            self._begin(run)
        self._panels = [panel for panel in run_panels(run, declared) if self._wanted(panel)]
        self._enlarge_again()
        if run.live.summary.metrics and self.options.axis not in axes_of(run.live.summary):
            self.options = replace(self.options, axis="step")
        self._chosen = min(self._chosen, max(len(self._panels) - 1, 0))
        self.draw()

    def _begin(self, run: OpenRun) -> None:
        """With the layout that the run's plugin had last; what is on its way may be still to come."""
        self.run, self._chosen, self._lines = run, 0, [RunLines(run)]
        try:
            layout = self._layouts.of(run.live.record.plugin)
        except UserError as error:
            self.notify(printable(str(error)), severity="warning", markup=False)
            layout = Layout()
        self.options, self._pattern, self._hidden = layout.options, layout.pattern, layout.hidden
        self._to_enlarge, self.enlarged = layout.enlarged, False

    def _enlarge_again(self) -> None:
        titles = [panel.title for panel in self._panels]
        if self._to_enlarge in titles:
            self._chosen, self.enlarged, self._to_enlarge = titles.index(self._to_enlarge), True, ""

    def _keep(self) -> None:
        """For the next time that a run of this plugin is opened."""
        if self.run is None:
            return
        enlarged = self._panels[self._chosen].title if self.enlarged and self._panels else ""
        layout = Layout(
            smoothing=self.options.smoothing,
            log=self.options.log,
            axis=self.options.axis,
            pattern=self._pattern,
            enlarged=enlarged,
            hidden=self._hidden,
        )
        try:
            self._layouts.keep(self.run.live.record.plugin, layout)
        except UserError as error:
            self.notify(printable(str(error)), severity="warning", markup=False)

    def overlay(self, runs: list[OpenRun]) -> None:
        """Draws these runs into the same charts."""
        known = {lines.run.live.record.id: lines for lines in self._lines[1:]}
        others = [known.get(run.live.record.id) or RunLines(run) for run in runs if run is not self.run]
        self._lines[1:] = others

    def _wanted(self, panel: Panel) -> bool:
        return panel.title not in self._hidden and self._matches(panel)

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
            return "no chart matches" if self._pattern else self._hidden_text
        last, count = first + len(in_sight), len(self._panels)
        places = f"{last} of {count}" if last == first + 1 else f"{first + 1}-{last} of {count}"
        filtered = f"/{self._pattern}/" if self._pattern else ""
        return "  ".join(part for part in (self.options.in_words(), filtered, self._hidden_text, places) if part)

    @property
    def _hidden_text(self) -> str:
        return f"{len(self._hidden)} hidden" if self._hidden else ""

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
        if self.run is None:
            return
        first, in_sight = self._in_sight()
        marks = marks_of(self.run.live.summary, self.options.axis)
        for place, chart in enumerate(self._arrange(len(in_sight))):
            panel = in_sight[place]
            selected = first + place == self._chosen and self._shape() != (1, 1)
            frame = Frame(self.total, selected, self.options, marks, target_of(self.run, panel))
            chart.follow(panel, self._panel_lines(panel), frame)
        self._draw_list()

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
        return panel_row(panel, self._panel_lines(panel), width)

    def go_back(self) -> bool:
        if self.options.cursor is not None:
            self.draw_with(replace(self.options, cursor=None))
        elif self.enlarged:
            self.action_enlarge()
        else:
            return False
        return True

    def draw_with(self, options: ChartOptions) -> None:
        super().draw_with(options)
        self._keep()

    def action_hide(self) -> None:
        if self._panels:
            self._hidden = (*self._hidden, self._panels[self._chosen].title)
            self.enlarged = False
            self._keep()

    def action_show_hidden(self) -> None:
        self._hidden = ()
        self._keep()

    def action_filter(self) -> None:
        field = self.query_one("#pattern", Input)
        field.value = self._pattern
        field.display = True
        field.focus()

    @on(Input.Changed, "#pattern")
    def _pattern_changed(self, message: Input.Changed) -> None:
        self._pattern, self._chosen = message.value, 0

    @on(Input.Submitted, "#pattern")
    def _pattern_chosen(self) -> None:
        self.query_one("#pattern", Input).display = False
        self.focus()
        self._keep()

    def action_move(self, right: int, down: int) -> None:
        columns, _ = self._shape()
        self._choose(self._chosen + right + down * columns)

    def action_turn(self, by: int) -> None:
        columns, rows = self._shape()
        self._choose(self._chosen + by * columns * rows)

    def action_enlarge(self) -> None:
        self.enlarged = not self.enlarged
        self.draw()
        self._keep()

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
