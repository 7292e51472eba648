"""One run: charts of its figures, memory, and what it writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static, TabbedContent, TabPane

from rlhf_console.headlines import headline, panels
from rlhf_console.printable import printable
from rlhf_console.render import duration, lights, number
from rlhf_console.runs.store import LiveRun, children_of
from rlhf_console.tui.chart import Line, MetricChart
from rlhf_console.tui.glyphs import state_label
from rlhf_console.tui.watcher import OpenRun
from rlhf_sdk.events import Sample
from rlhf_sdk.spec import Panel
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

REFRESH_SECONDS = 0.5
SHOWN_SAMPLES = 12
NARROW_COLUMNS, WIDE_COLUMNS = 100, 160
CHART_ROWS = 9


class RunScreen(Screen[None]):
    """Charts from the plugin's panels, and the newest samples. A pipeline shows the stage that is at work."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back"),
        Binding("c", "show_tab('charts')", "Charts"),
        Binding("s", "show_tab('samples')", "Samples"),
        Binding("l", "show_tab('lights')", "Lights"),
        Binding("left_square_bracket", "turn(-1)", "Previous", key_display="["),
        Binding("right_square_bracket", "turn(1)", "Next", key_display="]"),
    ]
    CSS = """
    #heading { height: 2; }
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    #grid { height: 1fr; grid-gutter: 0 1; }
    #newest, #all-lights { height: 1fr; padding: 0 1; }
    """

    def __init__(self, live: LiveRun) -> None:
        super().__init__()
        self._chosen = live
        self._open = OpenRun(live)
        self._panels: list[Panel] = []
        self._page = 0

    def compose(self) -> ComposeResult:
        yield Static("", id="heading", markup=False)
        with TabbedContent(initial="charts"):
            with TabPane("Charts", id="charts"):
                yield Grid(id="grid")
            with TabPane("Samples", id="samples"), VerticalScroll(id="newest"):
                yield Static("", id="sample-text", markup=False)
            with TabPane("Lights", id="lights"), VerticalScroll(id="all-lights"):
                yield Static("", id="light-text", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.reload()
        self.set_interval(REFRESH_SECONDS, self.reload)

    def on_resize(self) -> None:
        self._panels = []
        self.reload()

    @work(exclusive=True)
    async def reload(self) -> None:
        try:
            self._follow_stage()
            await self._open.refresh()
            await self._show()
        except UserError as error:
            self.query_one("#heading", Static).update(printable(str(error)))

    async def _show(self) -> None:
        await self._lay_out()
        self._update_heading()
        self._update_charts()
        self._update_samples()
        self._update_lights()

    def _follow_stage(self) -> None:
        """Within a pipeline, the newest stage that trains is the one in focus."""
        if self._chosen.record.plugin != "pipeline":
            return
        stages = children_of(self._chosen.directory.root, self._chosen.record.id)
        if stages and stages[-1].record.id != self._open.live.record.id:
            self._open, self._panels, self._page = OpenRun(stages[-1]), [], 0

    def _shape(self) -> tuple[int, int]:
        """Columns and rows of charts that fit."""
        width, height = self.app.size.width, self.app.size.height - 6
        columns = 1 if width < NARROW_COLUMNS else 2 if width < WIDE_COLUMNS else 3
        return columns, max(height // CHART_ROWS, 1)

    def _all_panels(self) -> list[Panel]:
        summary = self._open.live.summary
        known = [panel for panel in panels(self._open.live) if any(name in summary.metrics for name in panel.metrics)]
        return [*known, Panel("Memory", ["memory"], "GiB")] if summary.memory.steps else known

    async def _lay_out(self) -> None:
        columns, rows = self._shape()
        every = self._all_panels()
        pages = max(-(-len(every) // (columns * rows)), 1)
        self._page %= pages
        wanted = every[self._page * columns * rows :][: columns * rows]
        if wanted == self._panels:
            return
        self._panels = wanted
        grid = self.query_one("#grid", Grid)
        await grid.remove_children()
        grid.styles.grid_size_columns = min(columns, max(len(wanted), 1))
        grid.styles.grid_size_rows = -(-len(wanted) // columns) or 1
        await grid.mount_all([MetricChart(panel.title, panel.unit) for panel in wanted])
        self.call_after_refresh(self._update_charts)

    def _update_charts(self) -> None:
        summary = self._open.live.summary
        for chart, panel in zip(self.query(MetricChart), self._panels, strict=False):
            chart.show(_lines(self._open.live, panel), summary.total_steps)

    def _update_heading(self) -> None:
        run, summary = self._open.live, self._open.live.summary
        state = run.state
        label, _ = state_label(state)
        steps = f"step {summary.step}/{summary.total_steps}" if summary.total_steps else ""
        left = f"{duration(summary.eta_seconds)} left" if state is State.RUNNING and summary.eta_seconds else ""
        doing = summary.phase if state is State.RUNNING else summary.reason
        first = "  ".join(part for part in (label, run.record.id, steps, left, doing) if part)
        alerts = [alert.message for alert in summary.alerts[-1:]]
        turned = [f"{check.name}: {check.status}" for check in summary.checks.values() if check.status != "ok"]
        second = "  ".join([*(f"! {said}" for said in alerts + turned), headline(run)])
        heading = self.query_one("#heading", Static)
        said = f"{printable(first)}\n{printable(second)}"
        if heading.content != said:
            heading.update(said)

    def _update_samples(self) -> None:
        shown = "\n\n".join(_sample_text(sample) for sample in reversed(self._open.samples[-SHOWN_SAMPLES:]))
        widget = self.query_one("#sample-text", Static)
        said = shown or "No samples yet."
        if widget.content != said:
            widget.update(said)

    def _update_lights(self) -> None:
        checks = self._open.live.summary.checks
        said = lights(checks.values(), width=self.app.size.width - 4) if checks else "No sanity lights yet."
        widget = self.query_one("#light-text", Static)
        if widget.content != said:
            widget.update(said)

    def action_show_tab(self, name: str) -> None:
        self.query_one(TabbedContent).active = name
        scrolled = {"samples": "#newest", "lights": "#all-lights"}
        if name in scrolled:
            self.query_one(scrolled[name]).focus()

    def action_turn(self, by: int) -> None:
        self._page += by
        self.reload()


def _lines(live: LiveRun, panel: Panel) -> list[Line]:
    if panel.metrics == ["memory"]:
        memory = live.summary.memory
        return [Line("used", memory.steps, [value / 2**30 for value in memory.values])]
    series = [(name, live.summary.metrics[name]) for name in panel.metrics if name in live.summary.metrics]
    return [Line(name, one.steps, one.values) for name, one in series]


def _sample_text(sample: Sample) -> str:
    figures = "  ".join(f"{name.rpartition('/')[2]} {number(value)}" for name, value in sample.metrics.items())
    ended = "" if sample.ended else "  no EOS"
    parts = [f"step {sample.step}  {sample.tag} #{sample.index}  {figures}{ended}", *_texts(sample)]
    return "\n".join(printable(part) for part in parts)


def _texts(sample: Sample) -> Sequence[str]:
    texts = [f"prompt     {_flat(sample.prompt)}"]
    if sample.reference is not None:
        texts.append(f"reference  {_flat(sample.reference)}")
    return [*texts, f"response   {_flat(sample.response)}"]


def _flat(text: str) -> str:
    return " ".join(text.split())
