"""The list of runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Input

from rlhf_console.headlines import Declared
from rlhf_console.printable import printable
from rlhf_console.runs.arranging import Arrangement
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.index import Glance, RunIndex
from rlhf_console.runs.marks import Marks
from rlhf_console.runs.removing import archive, delete
from rlhf_console.runs.sent_commands import SentCommands
from rlhf_console.runs.store import LiveRun
from rlhf_console.tui.declarations import Declarations
from rlhf_console.tui.drawing.cells import Row, fit, join, text_cells
from rlhf_console.tui.drawing.run_rows import heading_row, run_row
from rlhf_console.tui.screens.compare import CompareScreen
from rlhf_console.tui.screens.confirm import Confirm
from rlhf_console.tui.screens.controlled import ControlledScreen, SentLine
from rlhf_console.tui.screens.launch import LaunchScreen
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import LIVE
from rlhf_sdk.trainer import UserError

REFRESH_SECONDS = 0.5
UNKNOWN = Declared()


class RunsScreen(ControlledScreen):
    """Every run of the root, newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="mark"),
        Binding("slash", "filter", "Filter", id="filter"),
        Binding("o", "order", "Order", show=False, id="order"),
        Binding("d", "compare", "Compare", show=False, id="compare"),
        Binding("l", "launch", "Launch", id="launch"),
        Binding("a", "archive", "Archive", show=False, id="archive"),
        Binding("delete,D", "delete", "Delete", show=False, id="delete"),
        Binding("escape", "show_all", "Show all", show=False, id="show-all"),
        Binding("q", "app.quit", "Quit", id="quit"),
    ]
    CSS = """
    #about { height: 1; }
    #columns { height: 1; }
    #words { height: 1; border: none; padding: 0; display: none; }
    """

    def __init__(
        self, root: Path, declarations: Declarations, sent: SentCommands, marks: Marks, *, readonly: bool
    ) -> None:
        super().__init__(sent, readonly=readonly)
        self._index = RunIndex(root)
        self._declarations = declarations
        self._arrangement = Arrangement()
        self.marks = marks

    def compose(self) -> ComposeResult:
        yield Cells(id="about")
        yield Cells(id="columns")
        yield PickList(self._row, lambda run: run.record.id, opens=True, id="runs")
        yield Input(placeholder="words that a run's id, plugin, profile or state has; !word: has not", id="words")
        yield SentLine()
        yield Footer()

    def on_mount(self) -> None:
        self._read()
        self.set_interval(REFRESH_SECONDS, self.draw)

    @work
    async def _read(self) -> None:
        while True:
            if self.is_current:
                await self._index.refresh()
                self.draw()
            await asyncio.sleep(REFRESH_SECONDS)

    def on_resize(self) -> None:
        self.draw()

    def draw(self) -> None:
        """Shows what is known now."""
        if not self.is_current:
            return
        runs, width = self._arrangement.arranged(self._index.runs), self.size.width
        self.query_one("#about", Cells).show([fit(self._about(), width)])
        self.query_one("#columns", Cells).show([heading_row(width)])
        self.query_one("#runs", PickList).show(runs)
        self.query_one(SentLine).follow(self.sent, width)

    def run_in_focus(self) -> RunDir | None:
        run = self.query_one("#runs", PickList).item
        return run.directory if isinstance(run, Glance) else None

    def _row(self, run: Glance, width: int) -> Row:
        mark = self.marks.place_of(run.record.id)
        declared = self._declarations.get(run.record.plugin) or UNKNOWN
        return run_row(run, declared, width, time.time(), mark=mark)

    def _about(self) -> Row:
        runs = self._index.runs
        live = sum(run.state in LIVE for run in runs)
        what = text_cells(f"{len(runs)} runs, {live} at work") if runs else text_cells("no runs yet: try `rlhf demo`")
        bad = len(self._index.unreadable)
        damaged = text_cells(f"{bad} unreadable" if bad else "", "warn")
        arranged = self._arrangement
        how = [
            f"/{arranged.words}" if arranged.words else "",
            f"by {arranged.order}" if arranged.order != "newest" else "",
        ]
        return join([
            text_cells("rlhf-console", "title"), what, damaged, text_cells(" ".join(filter(None, how)), "accent"),
            text_cells("read only" if self.readonly else "", "warn"), text_cells(str(self._index.root), "dim"),
        ])  # fmt: skip

    def action_mark(self) -> None:
        """Marked runs are drawn over the charts of the one that is opened, and can be compared."""
        run = self.query_one("#runs", PickList).item
        if isinstance(run, Glance):
            self.marks.turn(run.directory)
            self.draw()
            self.query_one("#runs", PickList).action_move(1)

    def action_compare(self) -> None:
        """The marked runs' samples, or those of the one under the cursor."""
        chosen = self.marks.runs or [run for run in [self.run_in_focus()] if run is not None]
        runs = []
        for directory in chosen:
            try:
                runs.append(OpenRun(LiveRun.open(directory)))
            except UserError as error:
                self.notify(printable(str(error)), severity="error", markup=False)
        if runs:
            self.app.push_screen(CompareScreen(runs, self._index.root, self.sent, readonly=self.readonly))

    def action_launch(self) -> None:
        self.app.push_screen(LaunchScreen(self._index.root))

    def action_order(self) -> None:
        self._arrangement = self._arrangement.with_next_order()
        self.draw()

    def action_filter(self) -> None:
        field = self.query_one("#words", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#words")
    def _words_changed(self, message: Input.Changed) -> None:
        self._arrangement = replace(self._arrangement, words=message.value)
        self.draw()

    @on(Input.Submitted, "#words")
    def _words_chosen(self) -> None:
        self.query_one("#words", Input).display = False
        self.query_one("#runs", PickList).focus()

    def action_show_all(self) -> None:
        self.query_one("#words", Input).value = ""
        self._words_chosen()

    def action_archive(self) -> None:
        self._with_ended("Archive", "It moves to .archive below the run folder, with its stages.", archive)

    def action_delete(self) -> None:
        self._with_ended("Delete", "Its checkpoints, samples and figures are gone for good.", delete)

    def _with_ended(self, what: str, explanation: str, do: Callable[[RunDir], None]) -> None:
        run = self.run_in_focus()
        if run is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._do(do, run)

        self.app.push_screen(Confirm(f"{what} {run.id}?", explanation), answered)

    def _do(self, do: Callable[[RunDir], None], run: RunDir) -> None:
        try:
            do(run)
        except UserError as error:
            self.notify(printable(str(error)), severity="error", markup=False)
        self.marks.forget(run.id)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self.readonly and action in ("archive", "delete", "launch"):
            return False
        return super().check_action(action, parameters)
