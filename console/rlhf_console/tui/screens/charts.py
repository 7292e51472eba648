"""The charts of a run: a grid of them where there is room, else one above the list of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid

from rlhf_console.headlines import Declared
from rlhf_console.printable import printable
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.fold import RunSummary
from rlhf_console.runs.seed_groups import SeedGroup
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.figures_text import figures_text
from rlhf_console.tui.drawing.lines import Line
from rlhf_console.tui.drawing.overlaid import Drawn, Overlaid
from rlhf_console.tui.drawing.places import axes_of
from rlhf_console.tui.drawing.plot import Frame, Target
from rlhf_console.tui.drawing.run_panels import RunLines, marks_of, one_by_one, panel_row, run_panels, target_of
from rlhf_console.tui.exporting import export_chart
from rlhf_console.tui.screens.chart_choice import ChartChoice
from rlhf_console.tui.widgets.chart import MetricChart
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_sdk.spec import Panel
from rlhf_sdk.trainer import UserError

CHART_WIDTH, CHART_HEIGHT = 52, 8
LISTED = 8
NONE: Mapping[int, SeedGroup] = {}


def grid_shape(width: int, height: int, count: int) -> tuple[int, int]:
    """Columns and rows of charts that fit; no more rows than `count` charts need."""
    columns = max(width // CHART_WIDTH, 1)
    rows = max(height // CHART_HEIGHT, 1)
    return columns, max(min(rows, -(-count // columns)), 1)


class ChartsView(ChartChoice):
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
        Binding("E", "export", "Export as SVG, PNG and CSV", show=False, id="export-chart"),
    ]
    DEFAULT_CSS = f"""
    ChartsView Grid {{ height: 1fr; grid-gutter: 0 2; }}
    ChartsView PickList {{ height: {LISTED}; }}
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines = Overlaid()
        self._marked: Mapping[int, SeedGroup] = {}
        self._points: Mapping[int, SeedGroup] = {}

    def compose(self) -> ComposeResult:
        yield Grid()
        panels: PickList[Panel] = PickList(self._panel_row, lambda panel: panel.title)
        panels.can_focus = False
        yield panels
        yield from super().compose()

    def show(self, run: OpenRun, declared: Declared) -> None:
        """Draws the charts that are in sight."""
        if run is not self.run:
            self.begin(run)
            self._lines = Overlaid()
        panels = run_panels(run, declared)
        self.choose_from(one_by_one(panels, run.live.summary.metrics) if self._points else panels)
        if self.summary.metrics and self.options.axis not in axes_of(self.summary):
            self.options = replace(self.options, axis="step")
        self.draw()

    def overlay(self, marked: Mapping[int, SeedGroup], points: Mapping[int, SeedGroup] = NONE) -> None:
        """What was marked is drawn over the charts from now on; `points` in place of the run that is shown."""
        self._marked, self._points = marked, points

    @property
    def summary(self) -> RunSummary:
        """Of the points' runs the one that got farthest."""
        runs = [run for group in self._points.values() for run in group.runs]
        return max((run.live.summary for run in runs), key=lambda each: each.step, default=super().summary)

    @property
    def where(self) -> str:
        """Which charts are in sight, of how many, and how they are drawn."""
        first, in_sight = self._in_sight()
        if not self.panels:
            return f"no chart  {self.in_words()}" if self.in_words() else ""
        last, count = first + len(in_sight), len(self.panels)
        places = f"{last} of {count}" if last == first + 1 else f"{first + 1}-{last} of {count}"
        return "  ".join(part for part in (self.in_words(), places) if part)

    def in_words(self) -> str:
        return "  ".join(filter(None, (self._turned_in_words(), super().in_words())))

    def _turned_in_words(self) -> str:
        if not self.options.turned:
            return ""
        if self._points:
            return "each seed"
        return (
            f"mean over {self._lines.seeds} seeds" if self._lines.seeds else "no marked run differs in its seed alone"
        )

    def _shape(self) -> tuple[int, int]:
        if self.enlarged:
            return 1, 1
        columns, rows = grid_shape(*self.size, len(self.panels))
        return (columns, rows) if columns > 1 else (1, 1)

    @property
    def _listing(self) -> bool:
        return not self.enlarged and self.size.width < 2 * CHART_WIDTH and len(self.panels) > 1

    def _in_sight(self) -> tuple[int, list[Panel]]:
        columns, rows = self._shape()
        first = self.chosen - self.chosen % (columns * rows)
        return first, self.panels[first : first + columns * rows]

    def on_resize(self) -> None:
        self.draw()

    def draw(self) -> None:
        if self.run is None:
            return
        self._lines.draw(Drawn(self.run, self._points, self._marked, self.options.turned))
        first, in_sight = self._in_sight()
        frame = self._frame(self.run)
        for place, chart in enumerate(self._arrange(len(in_sight))):
            panel = in_sight[place]
            selected = first + place == self.chosen and self._shape() != (1, 1)
            own = replace(frame, selected=selected, target=self._target(panel))
            chart.follow(panel, self._panel_lines(panel), own)
        self._draw_list()

    def _frame(self, run: OpenRun) -> Frame:
        marks = [] if self._points else marks_of(run.live.summary, self.options.axis)
        return Frame(self.total, options=self.options, marks=marks)

    def _target(self, panel: Panel) -> Target | None:
        """Points may steer to several."""
        return None if self._points or self.run is None else target_of(self.run, panel)

    def _panel_lines(self, panel: Panel) -> list[Line]:
        return self._lines.of(panel, self.options)

    def copied_text(self) -> str:
        """The figures of the chosen chart."""
        return figures_text(self.panel, self._panel_lines(self.panel), self.options) if self.panel else ""

    def lines_of_text(self) -> Iterator[str]:
        """All of them that are in sight."""
        if self.panel is not None:
            lines = self._panel_lines(self.panel)
            most = len(lines) * max((len(line.values) for line in lines), default=0)
            yield from figures_text(self.panel, lines, self.options, most=most or 1).splitlines()

    def action_export(self) -> None:
        """Aside: a long run has many figures."""
        if self.run is None or self.panel is None:
            return
        panel, runs, lines = self.panel, self._lines.runs, self._panel_lines(self.panel)
        frame = replace(self._frame(self.run), target=self._target(panel))
        self.run_worker(lambda: self._export(panel, lines, runs, frame), thread=True)

    def _export(self, panel: Panel, lines: list[Line], runs: list[RunLines], frame: Frame) -> None:
        try:
            path = export_chart(panel, lines, runs, frame)
            said = f"wrote {path.name}, .png and .csv into {path.parent}"
        except UserError as error:
            said = str(error)
        self.app.call_from_thread(self.notify, printable(said), markup=False)

    def _arrange(self, count: int) -> list[MetricChart]:
        """As many charts as are in sight, in the grid's shape."""
        grid = self.query_one(Grid)
        grid.styles.grid_size_columns, grid.styles.grid_size_rows = self._shape()
        charts = list(grid.query(MetricChart))
        new = [MetricChart() for _ in range(count - len(charts))]
        if new:
            grid.mount_all(new)
        for place, chart in enumerate(charts):
            if chart.display != (place < count):
                chart.display = place < count
        return [*charts, *new][:count]

    def _draw_list(self) -> None:
        panels = self.query_one(PickList)
        panels.display = self._listing
        if self._listing:
            panels.show(self.panels)
            panels.go(self.chosen)

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

    def action_move(self, right: int, down: int) -> None:
        columns, _ = self._shape()
        self._choose(self.chosen + right + down * columns)

    def action_turn(self, by: int) -> None:
        columns, rows = self._shape()
        self._choose(self.chosen + by * columns * rows)

    def _choose(self, index: int) -> None:
        self.chosen = min(max(index, 0), max(len(self.panels) - 1, 0))
        self.draw()

    @on(PickList.Moved)
    def _list_moved(self, message: PickList.Moved) -> None:
        message.stop()
        self._choose(message.source.cursor)

    @on(MetricChart.Chosen)
    def _chart_clicked(self, message: MetricChart.Chosen) -> None:
        message.stop()
        self._choose(self.panels.index(message.panel))
        if message.times > 1:
            self.action_enlarge()
