"""Where the memory of a run goes, over time and now."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widget import Widget

from rlhf_console.headlines import Declared
from rlhf_console.runs.focus import OpenRun
from rlhf_console.tui.drawing.memory import machine_rows, phase_rows, table_rows
from rlhf_console.tui.drawing.plot import Frame
from rlhf_console.tui.drawing.run_panels import RunLines, memory_panel
from rlhf_console.tui.screens.view import View
from rlhf_console.tui.widgets.chart import MetricChart
from rlhf_console.tui.widgets.row_view import Page

CHART_ROWS = 10
LEAST_HEIGHT = 26


class MemoryView(View):
    """The timeline where there is room for it, and the tables."""

    TITLE = "Memory"
    DEFAULT_CSS = f"MemoryView MetricChart {{ height: {CHART_ROWS}; }}"

    def compose(self) -> ComposeResult:
        yield MetricChart()
        yield Page()

    def main_widget(self) -> Widget:
        return self.query_one(Page)

    def show(self, run: OpenRun, declared: Declared) -> None:
        width, summary = max(self.size.width - 1, 1), run.live.summary
        chart, panel = self.query_one(MetricChart), memory_panel(run)
        chart.display = self.size.height >= LEAST_HEIGHT
        if chart.display:
            frame = Frame(total=summary.total_steps)
            chart.follow(panel, RunLines(run).of(panel, frame.options), frame)
        parts = [machine_rows(run.machine, width), table_rows(summary, width), phase_rows(summary.phases, width)]
        self.query_one(Page).show([row for part in parts if part for row in (*part, [])])
