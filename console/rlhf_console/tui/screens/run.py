"""One run: progress, and a view for each side of it. A pipeline shows its stages, and the one at work."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import ContentSwitcher

from rlhf_console.headlines import Declared
from rlhf_console.printable import printable
from rlhf_console.runs.focus import Focus
from rlhf_console.runs.marks import Marks
from rlhf_console.runs.seed_groups import Overlays
from rlhf_console.runs.sent_commands import SentCommands
from rlhf_console.runs.store import LiveRun
from rlhf_console.runs.sweep_focus import SweepFocus
from rlhf_console.runs.sweeps import SWEEP
from rlhf_console.tui.declarations import Declarations
from rlhf_console.tui.drawing.cells import fit, text_cells
from rlhf_console.tui.drawing.lines import OVERLAY_LOOK
from rlhf_console.tui.drawing.point_rows import points_row
from rlhf_console.tui.drawing.run_head import head_of, head_rows, stage_cells
from rlhf_console.tui.drawing.samples import sample_page
from rlhf_console.tui.screens.alerts import AlertsView
from rlhf_console.tui.screens.charts import ChartsView
from rlhf_console.tui.screens.compare import CompareScreen
from rlhf_console.tui.screens.config import ConfigView
from rlhf_console.tui.screens.controlled import SentLine
from rlhf_console.tui.screens.logs import LogsView
from rlhf_console.tui.screens.memory import MemoryView
from rlhf_console.tui.screens.pages import ChecksView, ResultView
from rlhf_console.tui.screens.repeating import RepeatingScreen
from rlhf_console.tui.screens.samples import SamplesView
from rlhf_console.tui.screens.view import GoToStep, View
from rlhf_console.tui.widgets.bar import Bar
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.key_bar import KeyBar
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

REFRESH_SECONDS = 0.5
POLL_SECONDS = 0.2
SOON_SECONDS = 0.05
NEWEST_ROWS = 7
TALL = 36
WIDE = 100
VIEWS: dict[str, type[View]] = {
    "charts": ChartsView,
    "samples": SamplesView,
    "memory": MemoryView,
    "checks": ChecksView,
    "alerts": AlertsView,
    "logs": LogsView,
    "config": ConfigView,
    "result": ResultView,
}


class Attention(Message):
    """Something that a person should look at now."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class RunScreen(RepeatingScreen):
    """What one run does, live."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "turn(1)", "Next view", id="next-view"),
        Binding("shift+tab", "turn(-1)", "Previous view", show=False, id="previous-view"),
        *(
            Binding(str(place), f"open({name!r})", view.TITLE, show=False, id=f"view-{name}")
            for place, (name, view) in enumerate(VIEWS.items(), 1)
        ),
        Binding("left_square_bracket", "stage(-1)", "Stage", key_display="[ ]", id="previous-stage"),
        Binding("right_square_bracket", "stage(1)", "Next stage", show=False, id="next-stage"),
        Binding("d", "compare", "Compare", show=False, id="compare"),
        Binding("escape", "back", "Back", id="back"),
        Binding("q", "app.quit", "Quit", id="quit"),
    ]
    CSS = f"""
    #head {{ height: 3; }}
    #points {{ height: 1; }}
    #newest {{ height: {NEWEST_ROWS}; }}
    ContentSwitcher {{ height: 1fr; }}
    """

    def __init__(
        self,
        opened: LiveRun,
        declarations: Declarations,
        sent: SentCommands,
        marks: Marks,
        *,
        readonly: bool,
        point: str = "",
    ) -> None:
        """Of a sweep, `point` is the one whose charts are wanted alone."""
        super().__init__(sent, readonly=readonly)
        is_sweep = opened.record.plugin == SWEEP
        self._sweep = SweepFocus(opened, marks, OVERLAY_LOOK, point) if is_sweep else None
        self._watched: Focus = self._sweep or Focus(opened)
        self._overlays = Overlays(marks)
        self._alerts_seen: tuple[str, int] | None = None
        self._problem = ""
        self._drawn = False
        self._declarations = declarations

    def compose(self) -> ComposeResult:
        yield Cells(id="head")
        yield Bar(id="stages")
        yield Cells(id="points")
        yield Bar(id="views")
        with ContentSwitcher(initial="charts"):
            for name, view in VIEWS.items():
                yield view(id=name)
        yield Cells(id="newest")
        yield SentLine()
        yield KeyBar()

    def on_mount(self) -> None:
        self._view.main_widget().focus()
        self._read()
        self.set_interval(REFRESH_SECONDS, self._tick)
        self._soon = self.set_interval(SOON_SECONDS, self._draw_first)

    @work
    async def _read(self) -> None:
        """Without a rest while there is more, but for the first screen, which goes first."""
        while True:
            more = self._read_piece()
            await asyncio.sleep(POLL_SECONDS if not more else 0 if self._drawn else SOON_SECONDS)

    def _read_piece(self) -> bool:
        """True if there may be more; what can't be read is said once."""
        try:
            own = {point.id for point in self._sweep.points} if self._sweep else ()
            more = self._watched.read() | self._overlays.read(self._watched.drawn_plugin, own)
        except (OSError, UserError) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self.notify(printable(self._problem), severity="error", markup=False)
            return False
        return more

    def _tick(self) -> None:
        """The newest first, so that nothing waits for longer than from one tick to the next."""
        self._read_piece()
        self._call_attention()
        if not self.terminal_is_behind:
            self.draw()

    def _draw_first(self) -> None:
        if self._declarations.get(self._watched.shown.live.record.plugin) is not None:
            self._soon.stop()
            self.draw()
            self._drawn = True

    def on_resize(self) -> None:
        self.draw()

    def run_in_focus(self) -> RunDir:
        """A command to a pipeline reaches the stage at work through it; an earlier stage is asked itself."""
        shown, opened = self._watched.shown.live, self._watched.opened.live
        return opened.directory if shown.record.pipeline == opened.record.id else shown.directory

    def runs_to_repeat(self) -> list[RunDir]:
        runs = [self._watched.shown.live.directory, self._watched.opened.live.directory]
        return list(dict.fromkeys(runs))

    @property
    def _view(self) -> View:
        current = self.query_one(ContentSwitcher).current or next(iter(VIEWS))
        return self.query_one(f"#{current}", View)

    def draw(self) -> None:
        """Shows what has been read by now."""
        if not self.in_sight:
            return
        run, width = self._watched.shown, self.size.width
        declared = self._declarations.get(run.live.record.plugin)
        if declared is not None:
            self.query_one("#head", Cells).show(head_rows(head_of(self._watched, declared), width))
            self._draw_view(declared)
        self._draw_bars(width)
        self._draw_newest(width)
        self.query_one(SentLine).follow(self.sent, width)

    def _draw_view(self, declared: Declared) -> None:
        """Charts of a sweep are those of its cells' plugin."""
        charts, drawn = self.query_one(ChartsView), self._declarations.get(self._watched.drawn_plugin)
        if self._view is not charts:
            self._view.show(self._watched.shown, declared)
        elif drawn is not None:
            charts.overlay(self._overlays.by_place, self._sweep.by_look if self._sweep else {})
            charts.show(self._watched.lead, drawn)

    def _call_attention(self) -> None:
        """Of a serious alert that came since the screen last looked at this run."""
        live = self._watched.shown.live
        alerts, before = live.summary.alerts, self._alerts_seen
        self._alerts_seen = live.record.id, len(alerts)
        if before is None or before[0] != live.record.id:
            return
        serious = [alert for alert in alerts[before[1] :] if alert.severity != "info"]
        if serious:
            self.notify(printable(serious[-1].message), severity="warning", markup=False)
            self.post_message(Attention(f"{live.record.id}: {serious[-1].message}"))

    def _draw_bars(self, width: int) -> None:
        stages, bar = self._watched.stages, self.query_one("#stages", Bar)
        bar.display = bool(stages)
        parts = [stage_cells(stage, chosen=stage.name == self._watched.stage) for stage in stages]
        bar.show_parts(parts, [], width)
        self._draw_points(width)
        current = self._view.id
        edge = " " if width >= WIDE else ""
        names = [
            text_cells(f"{edge}{view.TITLE}{edge}", "chosen" if name == current else "") for name, view in VIEWS.items()
        ]
        self.query_one("#views", Bar).show_parts(names, text_cells(self._view.where, "dim"), width, gap=len(edge) + 1)

    def _draw_points(self, width: int) -> None:
        """What the signs in the charts of a sweep stand for."""
        cells = self.query_one("#points", Cells)
        cells.display = self._sweep is not None and self._view.id == "charts"
        if self._sweep is not None:
            cells.show([points_row(self._sweep.by_look, len(self._sweep.points), width)])

    def _draw_newest(self, width: int) -> None:
        """The newest sample below the charts, where there is room."""
        cells, newest = self.query_one("#newest", Cells), self._watched.shown.samples.newest
        cells.display = newest is not None and self._view.id == "charts" and self.size.height >= TALL
        if newest is not None and cells.display:
            rule = fit(text_cells("─" * width, "dim"), width)
            cells.show([rule, *sample_page(newest, width, NEWEST_ROWS - 1)][:NEWEST_ROWS])

    def action_open(self, name: str) -> None:
        """The samples are those of the crosshair's step, and the crosshair is where samples were chosen."""
        charts, samples = self.query_one(ChartsView), self.query_one(SamplesView)
        if name == "samples" and self._view is charts and charts.step is not None:
            samples.point(charts.step)
        if name == "charts" and self._view is samples and samples.update_listed is not None:
            charts.go_to(samples.update_listed)
        self.query_one(ContentSwitcher).current = name
        self._view.main_widget().focus()
        self.call_after_refresh(self.draw)

    @on(GoToStep)
    def _go_to_step(self, message: GoToStep) -> None:
        """Once the charts have the run that is shown."""
        self.action_open("charts")
        self.call_after_refresh(self.query_one(ChartsView).go_to, message.step)

    def action_turn(self, by: int) -> None:
        names = list(VIEWS)
        self.action_open(names[(names.index(str(self._view.id)) + by) % len(names)])

    def action_stage(self, by: int) -> None:
        self._watched.choose(by)
        self._stage_changed()

    def _stage_changed(self) -> None:
        self._watched.read()
        self.draw()

    @on(Bar.Chosen, "#stages")
    def _stage_clicked(self, message: Bar.Chosen) -> None:
        self._watched.choose_stage(self._watched.stages[message.place].name)
        self._stage_changed()

    @on(Bar.Chosen, "#views")
    def _view_clicked(self, message: Bar.Chosen) -> None:
        self.action_open(list(VIEWS)[message.place])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "stage":
            return bool(self._watched.stages)
        return super().check_action(action, parameters)

    def action_compare(self) -> None:
        """This run's samples, of a sweep those of each point's first seed, beside those of marked runs."""
        own = [group.runs[0] for group in self._sweep.by_look.values() if group.runs] if self._sweep else []
        shown = own or [self._watched.shown]
        runs = [*shown, *(run for run in self._overlays.runs if run.live != self._watched.shown.live)]
        root = self._watched.opened.live.directory.root
        self.app.push_screen(CompareScreen(runs, root, self.sent, readonly=self.readonly))

    def action_back(self) -> None:
        if not self._view.go_back():
            self.app.pop_screen()
