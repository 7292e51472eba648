"""The list of runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.widgets import Input

from rlhf_console.headlines import Declared
from rlhf_console.runs.arranging import Arrangement, Listing, Place, came_from
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.glance import Glance
from rlhf_console.runs.index import RunIndex
from rlhf_console.runs.marks import Marks
from rlhf_console.runs.removing import ARCHIVE
from rlhf_console.runs.sent_commands import SentCommands
from rlhf_console.runs.store import LiveRun
from rlhf_console.runs.tags import write_tags
from rlhf_console.tui.declarations import Declarations
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.list_head import list_head
from rlhf_console.tui.drawing.run_rows import TOP, about_row, heading_row, run_row
from rlhf_console.tui.screens.compare import CompareScreen
from rlhf_console.tui.screens.controlled import SentLine
from rlhf_console.tui.screens.keeping import KeepingScreen
from rlhf_console.tui.screens.launch import LaunchScreen
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.key_bar import KeyBar
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

REFRESH_SECONDS, HURRIED_SECONDS = 0.5, 0.05
UNKNOWN = Declared()
WRITING = ("launch", "tags")


def _path(run: Glance) -> str:
    return str(run.directory.path.absolute())


class RunTree(PickList[Glance]):
    """Runs, some below others that can be folded."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "screen.fold(True)", "Fold", show=False, id="fold"),
        Binding("right", "screen.fold(False)", "Unfold", show=False, id="unfold"),
    ]


class RunsScreen(KeepingScreen):
    """Every run of the root, newest first; or those that were archived."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="mark"),
        Binding("slash", "filter", "Filter", id="filter"),
        Binding("o", "order", "Order", show=False, id="order"),
        Binding("O", "backwards", "Reverse the order", show=False, id="order-backwards"),
        Binding("F", "fold_all", "Fold all, or none", show=False, id="fold-all"),
        Binding("t", "tags", "Tags", show=False, id="tags"),
        Binding("d", "compare", "Compare", show=False, id="compare"),
        Binding("l", "launch", "Launch", id="launch"),
        Binding("A", "archived", "Archived runs, or back", show=False, id="archived"),
        Binding("escape", "show_all", "Show all", show=False, id="show-all"),
        Binding("q", "app.quit", "Quit", id="quit"),
    ]
    CSS = """
    #about, #columns, #one { height: 1; }
    #words, #tags { height: 1; border: none; padding: 0; display: none; }
    """

    def __init__(
        self, root: Path, declarations: Declarations, sent: SentCommands, marks: Marks, *, readonly: bool
    ) -> None:
        super().__init__(sent, readonly=readonly)
        self._root = root
        self._index = RunIndex(root)
        self._declarations = declarations
        self._arrangement = Arrangement()
        self._listing, self._listed = Listing(), (self._index, -1, self._arrangement)
        self.marks = marks
        self._awaited = ""

    def compose(self) -> ComposeResult:
        yield Cells(id="about")
        yield Cells(id="columns")
        self._runs = RunTree(self._row, lambda run: run.record.id, opens=True, text=_path, id="runs")
        yield self._runs
        yield Cells(id="one")
        yield Input(placeholder="words that are known of a run, or #tags; !word: has not", id="words")
        yield Input(placeholder="tags of this run, with blanks between", id="tags")
        yield SentLine()
        yield KeyBar()

    def on_mount(self) -> None:
        self._read()

    @work
    async def _read(self) -> None:
        while True:
            more = False
            if self.in_sight:
                more = await self._index.refresh(self._runs.in_sight)
                self._tick()
            await asyncio.sleep(HURRIED_SECONDS if more else REFRESH_SECONDS)

    def _tick(self) -> None:
        # When the app ends, some widgets are gone before this reader is cancelled.
        with suppress(NoMatches):
            if not self.terminal_is_behind:
                self.draw()

    @property
    def shows_archive(self) -> bool:
        return self._index.root != self._root

    def users_of(self, run: RunDir) -> list[str]:
        return came_from(self._index.runs, run.id)

    def removed(self, run: RunDir) -> None:
        self.marks.forget(run.id)

    def on_resize(self) -> None:
        self.draw()

    def draw(self) -> None:
        """Shows what is known now."""
        if not self.in_sight:
            return
        width = self.size.width
        self._arrange()
        index, arrangement = self._index, self._arrangement
        head = list_head(index, arrangement, width, archive=self.shows_archive, readonly=self.readonly)
        self.query_one("#about", Cells).show([head])
        self.query_one("#columns", Cells).show([heading_row(width)])
        self._runs.show(self._listing.runs)
        self._go_to_awaited()
        self._draw_one()
        self.query_one(SentLine).follow(self.sent, width)

    def _go_to_awaited(self) -> None:
        ids = [run.record.id for run in self._listing.runs] if self._awaited else []
        if self._awaited in ids:
            self._runs.go(ids.index(self._awaited))
            self._awaited = ""

    def _arrange(self) -> None:
        """Anew where there are other runs, or others are wanted, or what they do may change it."""
        wanted = (self._index, self._index.version, self._arrangement)
        if wanted != self._listed or self._arrangement.depends_on_runs:
            self._listing, self._listed = self._arrangement.arranged(self._index.runs), wanted

    @on(PickList.Moved, "#runs")
    def _draw_one(self) -> None:
        run = self._runs.item
        self.query_one("#one", Cells).show([about_row(run, self.size.width) if run else []])

    @property
    def runs(self) -> Sequence[Glance]:
        """Those found by now, newest first."""
        return self._index.runs

    def run_in_focus(self) -> RunDir | None:
        run = self._runs.item
        return run.directory if run is not None else None

    def _row(self, run: Glance, width: int) -> Row:
        mark = self.marks.place_of(run.record.id)
        declared = self._declarations.get(run.record.plugin) or UNKNOWN
        return run_row(run, declared, width, time.time(), mark=mark, place=self._place(run))

    def _place(self, run: Glance) -> Place:
        return self._listing.places.get(run.record.id, TOP)

    def action_mark(self) -> None:
        """Marked runs are drawn over the charts of the one that is opened, and can be compared."""
        run = self.run_in_focus()
        if run is not None:
            self.marks.turn(run)
            self.draw()
            self._runs.action_move(1)

    def action_compare(self) -> None:
        """The marked runs' samples, or those of the one under the cursor."""
        chosen = self.marks.runs or [run for run in [self.run_in_focus()] if run is not None]
        runs = []
        for directory in chosen:
            try:
                runs.append(OpenRun(LiveRun.open(directory)))
            except UserError as error:
                self.complain(error)
        if runs:
            self.app.push_screen(CompareScreen(runs, self._index.root, self.sent, readonly=self.readonly))

    def action_launch(self) -> None:
        self.app.push_screen(LaunchScreen(self._root), self.started)

    def started(self, run_id: str | None) -> None:
        """The cursor goes to a new run as soon as it is in the list."""
        self._awaited = run_id or ""

    def _rearrange(self, arrangement: Arrangement) -> None:
        self._arrangement = arrangement
        self.draw()

    def action_order(self) -> None:
        self._rearrange(self._arrangement.with_next_order())

    def action_backwards(self) -> None:
        self._rearrange(replace(self._arrangement, backwards=not self._arrangement.backwards))

    def action_fold(self, folded: bool) -> None:
        """What is below the run under the cursor; from a run without any, what is below the one above it."""
        run = self._runs.item
        if run is None:
            return
        if folded and not self._place(run).below:
            self._runs.go(self._place_above(run))
            run = self._runs.item or run
        if self._place(run).below:
            self._rearrange(self._arrangement.with_fold(run.record.id, folded=folded))

    def _place_above(self, run: Glance) -> int:
        """Where the run stands that this one is below; its own place, where there is none."""
        runs, depth = self._listing.runs, self._place(run).depth
        start = runs.index(run)
        above = (index for index in range(start, -1, -1) if self._place(runs[index]).depth < depth)
        return next(above, start)

    def action_fold_all(self) -> None:
        groups = frozenset(run_id for run_id, place in self._listing.places.items() if place.below)
        self._rearrange(replace(self._arrangement, folded=frozenset() if self._arrangement.folded else groups))

    def action_filter(self) -> None:
        self._enter("#words", self._arrangement.words)

    def action_tags(self) -> None:
        run = self._runs.item
        if run is not None:
            self._enter("#tags", " ".join(run.tags))

    def _enter(self, field_id: str, text: str) -> None:
        field = self.query_one(field_id, Input)
        field.display, field.value = True, text
        field.focus()

    @on(Input.Changed, "#words")
    def _words_changed(self, message: Input.Changed) -> None:
        self._rearrange(replace(self._arrangement, words=message.value))

    @on(Input.Submitted, "#words")
    def _leave_fields(self) -> None:
        for field in self.query(Input):
            field.display = False
        self._runs.focus()

    @on(Input.Submitted, "#tags")
    def _tagged(self, message: Input.Submitted) -> None:
        run = self._runs.item
        self._leave_fields()
        if run is None:
            return
        try:
            run.tags = write_tags(run.directory, message.value.split())
        except UserError as error:
            self.complain(error)
        self.draw()

    def action_show_all(self) -> None:
        """Out of a field, else away with the filter, else out of the archive."""
        if any(field.display for field in self.query(Input)):
            self._leave_fields()
        elif self._arrangement.words:
            self._rearrange(replace(self._arrangement, words=""))
        elif self.shows_archive:
            self.action_archived()

    def action_archived(self) -> None:
        self._index = RunIndex(self._root if self.shows_archive else self._root / ARCHIVE)
        self._rearrange(replace(self._arrangement, words=""))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self.readonly and action in WRITING:
            return False
        return super().check_action(action, parameters)
