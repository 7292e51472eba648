"""Where the memory of a run goes, over time and now, beside what was planned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget

from rlhf_console.headlines import Declared
from rlhf_console.memory_report import HOW_PLANNED, ON_DEVICE, memory_report
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.timeline import Span, sampled_spans
from rlhf_console.scale import View as Stretch
from rlhf_console.scale import live_view
from rlhf_console.tui.drawing.cells import Row, fit, text_cells
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.memory import machine_rows, outlook_rows, phase_rows, table_rows
from rlhf_console.tui.drawing.timeline import kind_legend, timeline_rows
from rlhf_console.tui.plans import PlanRows, Plans
from rlhf_console.tui.screens.view import View
from rlhf_console.tui.widgets.row_view import Page

LOWEST, HIGHEST = 5, 14
"""Rows of the area."""


class MemoryView(View):
    """The timeline above the tables, all one page."""

    TITLE = "Memory"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in", key_display="+ -", id="zoom-in"),
        Binding("minus", "zoom(2.0)", "Zoom out", show=False, id="zoom-out"),
        Binding("comma", "pan(-0.25)", "Pan left", show=False, id="pan-left"),
        Binding("full_stop", "pan(0.25)", "Pan right", show=False, id="pan-right"),
        Binding("0", "follow", "Follow what comes", show=False, id="follow"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run: OpenRun | None = None
        self._plans = Plans()
        self._options = ChartOptions(axis="wall")

    def compose(self) -> ComposeResult:
        yield Page()

    def main_widget(self) -> Widget:
        return self.query_one(Page)

    @property
    def where(self) -> str:
        return "zoomed" if self._options.view else ""

    def show(self, run: OpenRun, declared: Declared) -> None:
        if run is not self._run:
            self._run, self._options = run, ChartOptions(axis="wall")
        self._draw()

    def _draw(self) -> None:
        if self._run is None:
            return
        run, width = self._run, max(self.size.width - 1, 1)
        plan = self._plans.get(run.live)
        report = memory_report(run.live.summary, plan or [], run.machine)
        parts = [
            self._timeline(run, str(report["where"]), report["limit"], width),
            [*outlook_rows(report, width), *machine_rows(run.moments, width)],
            [*phase_rows(report, width), fit(text_cells(_about(plan), "dim"), width)],
            table_rows(run.live.summary, width),
        ]
        self.query_one(Page).show([row for part in parts if part for row in (*part, [])])

    def _timeline(self, run: OpenRun, where: str, limit: int | None, width: int) -> list[Row]:
        spans, height = self._spans(run), min(max(self.size.height // 3, LOWEST), HIGHEST)
        if not spans:
            return []
        live, newest = self._extent(run, spans)
        whole = live if run.live.summary.exit_code is None else Stretch(0.0, max(newest, 1.0))
        view, began = self._options.view or whole, run.live.summary.first_time
        of = "device" if where == ON_DEVICE else "process"
        how = "at each phase's peak" if _told(run) else "as sampled"
        heading = [fit(text_cells(f"Memory of the {of} {how} (GiB)", "title"), width)]
        in_sight = [span for span in spans if span.end >= began + view.first and span.start <= began + view.last]
        highest = max(in_sight, key=lambda span: span.bytes, default=spans[-1])
        legend = kind_legend(highest.kinds, width)
        return [*heading, *timeline_rows(spans, began, view, limit, width, height), *legend]

    def _spans(self, run: OpenRun) -> Sequence[Span]:
        """As the phases told; as the machine was sampled, where they told nothing."""
        phases = run.live.summary.timeline.spans
        return phases if _told(run) else sampled_spans(list(run.moments), phases)

    def _extent(self, run: OpenRun, spans: Sequence[Span]) -> tuple[Stretch, float]:
        """The whole of what there is to see, and its newest place, in seconds since the start."""
        newest = spans[-1].end - run.live.summary.first_time
        return live_view(newest, 0), newest

    def _draw_with(self, options: ChartOptions) -> None:
        self._options = options
        self._draw()

    def action_zoom(self, factor: float) -> None:
        if self._run is not None and (spans := self._spans(self._run)):
            self._draw_with(self._options.zoomed(*self._extent(self._run, spans), factor))

    def action_pan(self, share: float) -> None:
        if self._run is not None and (spans := self._spans(self._run)):
            self._draw_with(self._options.panned(self._extent(self._run, spans)[0], share))

    def action_follow(self) -> None:
        self._draw_with(ChartOptions(axis="wall"))


def _told(run: OpenRun) -> bool:
    return bool(run.live.summary.memory.values)


def _about(plan: PlanRows | None) -> str:
    if plan is None:
        return "the plugin is being asked for its plan"
    return HOW_PLANNED if plan else "no plan: the plugin has none, or the models that it needs are gone"
