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
from rlhf_console.runs.arranging import Arrangement, came_from
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.glance import Glance
from rlhf_console.runs.index import RunIndex
from rlhf_console.runs.marks import MOST, Marks
from rlhf_console.runs.removing import ARCHIVE
from rlhf_console.runs.sent_commands import SentCommands
from rlhf_console.runs.store import LiveRun
from rlhf_console.runs.sweep_tree import Listed, ListedPoint, Listing, listed_id
from rlhf_console.runs.sweeps import Point
from rlhf_console.runs.tags import write_tags
from rlhf_console.tui.declarations import Declarations
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.list_head import list_head
from rlhf_console.tui.drawing.point_rows import about_point, declared_plugin, point_row
from rlhf_console.tui.drawing.run_rows import about_row, heading_row, run_row
from rlhf_console.tui.screens.arranged import ArrangedScreen, RunTree
from rlhf_console.tui.screens.compare import CompareScreen
from rlhf_console.tui.screens.controlled import SentLine
from rlhf_console.tui.screens.keys import hint
from rlhf_console.tui.screens.launch import LaunchScreen
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.key_bar import KeyBar
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

REFRESH_SECONDS, HURRIED_SECONDS = 0.5, 0.05
UNKNOWN = Declared()
WRITING = ("launch", "tags")


def _copied(item: Listed) -> str:
    """Folders."""
    runs = [cell.directory for cell in item.cells] if isinstance(item, ListedPoint) else [item.directory]
    return "\n".join(str(run.path.absolute()) for run in runs)


class RunsScreen(ArrangedScreen):
    """Every run of the root, newest first; or those that were archived."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="mark"),
        Binding("slash", "filter", "Filter", id="filter"),
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
        self.arrangement = Arrangement()
        self.listing, self._listed = Listing(), (self._index, -1, self.arrangement)
        self.marks = marks
        self._awaited = ""

    def compose(self) -> ComposeResult:
        yield Cells(id="about")
        yield Cells(id="columns")
        self.run_tree = RunTree(self._row, listed_id, opens=True, text=_copied, id="runs")
        yield self.run_tree
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
                more = await self._index.refresh(self._runs_in_sight())
                self._tick()
            await asyncio.sleep(HURRIED_SECONDS if more else REFRESH_SECONDS)

    def _runs_in_sight(self) -> list[Glance]:
        """With those whose figures a point tells together."""
        items = self.run_tree.in_sight
        points = (item for item in items if isinstance(item, ListedPoint))
        told = [run for point in points for run in (*point.cells, *point.told)]
        return [*(item for item in items if isinstance(item, Glance)), *told]

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
        index, arrangement = self._index, self.arrangement
        head = list_head(index, arrangement, width, archive=self._archive_hints(), readonly=self.readonly)
        self.query_one("#about", Cells).show([head])
        self.query_one("#columns", Cells).show([heading_row(width)])
        self.run_tree.show(self.listing.runs)
        self._go_to_awaited()
        self._draw_one()
        self.query_one(SentLine).follow(self.sent, width)

    def _archive_hints(self) -> str:
        if not self.shows_archive:
            return ""
        hints = [hint(self, "archive", "fetches one back"), hint(self, "archived", "leaves")]
        return ", ".join(filter(None, hints))

    def _go_to_awaited(self) -> None:
        ids = [listed_id(item) for item in self.listing.runs] if self._awaited else []
        if self._awaited in ids:
            self.run_tree.go(ids.index(self._awaited))
            self._awaited = ""

    def _arrange(self) -> None:
        """Anew where there are other runs, or others are wanted, or what they do may change it."""
        wanted = (self._index, self._index.version, self.arrangement)
        if wanted != self._listed or self.arrangement.depends_on_runs:
            self.listing, self._listed = self.arrangement.arranged(self._index.runs), wanted

    @on(PickList.Moved, "#runs")
    def _draw_one(self) -> None:
        item, width = self.run_tree.item, self.size.width
        about = about_point(item, width) if isinstance(item, ListedPoint) else about_row(item, width) if item else []
        self.query_one("#one", Cells).show([about])

    @property
    def runs(self) -> Sequence[Glance]:
        """Those found by now, newest first."""
        return self._index.runs

    def run_in_focus(self) -> RunDir | None:
        return run.directory if (run := self._run) is not None else None

    @property
    def _run(self) -> Glance | None:
        """Under the cursor; None at a point of a sweep."""
        item = self.run_tree.item
        return item if isinstance(item, Glance) else None

    def _row(self, item: Listed, width: int) -> Row:
        mark, place = self.marks.place_of(listed_id(item)), self.place_of(item)
        if isinstance(item, ListedPoint):
            declared = self._declarations.get(declared_plugin(item)) or UNKNOWN
            return point_row(item, declared, width, mark=mark, place=place)
        declared = self._declarations.get(item.record.plugin) or UNKNOWN
        return run_row(item, declared, width, time.time(), mark=mark, place=place)

    def action_mark(self) -> None:
        """What is marked is drawn over the charts of a run that is opened; of a sweep its points are marked."""
        item = self.run_tree.item
        if item is None:
            return
        if isinstance(item, ListedPoint):
            self.marks.turn(item.point)
        elif item.points:
            self._mark_points(item.points)
        else:
            self.marks.turn(item.directory)
        self.draw()
        self.run_tree.action_move(1)

    def _mark_points(self, points: Sequence[Point]) -> None:
        marked = self.marks.turn_all(points)
        if 0 < marked < len(points):
            text = f"{marked} of {len(points)} points are marked: no more than {MOST} marks can be told apart"
            self.notify(text, severity="warning", markup=False)

    def action_compare(self) -> None:
        """The marked runs' samples, or those of what is under the cursor."""
        chosen = self.marks.runs or self._runs_under_the_cursor()
        runs = []
        for directory in chosen:
            try:
                runs.append(OpenRun(LiveRun.open(directory)))
            except UserError as error:
                self.complain(error)
        if runs:
            self.app.push_screen(CompareScreen(runs, self._index.root, self.sent, readonly=self.readonly))

    def _runs_under_the_cursor(self) -> list[RunDir]:
        item = self.run_tree.item
        if isinstance(item, ListedPoint):
            return [run.directory for run in item.told]
        return [item.directory] if item is not None else []

    def action_launch(self) -> None:
        self.app.push_screen(LaunchScreen(self._root), self.started)

    def started(self, run_id: str | None) -> None:
        """The cursor goes to a new run as soon as it is in the list."""
        self._awaited = run_id or ""

    def action_filter(self) -> None:
        self._enter("#words", self.arrangement.words)

    def action_tags(self) -> None:
        run = self._run
        if run is not None:
            self._enter("#tags", " ".join(run.tags))

    def _enter(self, field_id: str, text: str) -> None:
        field = self.query_one(field_id, Input)
        field.display, field.value = True, text
        field.focus()

    @on(Input.Changed, "#words")
    def _words_changed(self, message: Input.Changed) -> None:
        self.rearrange(replace(self.arrangement, words=message.value))

    @on(Input.Submitted, "#words")
    def _leave_fields(self) -> None:
        for field in self.query(Input):
            field.display = False
        self.run_tree.focus()

    @on(Input.Submitted, "#tags")
    def _tagged(self, message: Input.Submitted) -> None:
        run = self._run
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
        elif self.arrangement.words:
            self.rearrange(replace(self.arrangement, words=""))
        elif self.shows_archive:
            self.action_archived()

    def action_archived(self) -> None:
        self._index = RunIndex(self._root if self.shows_archive else self._root / ARCHIVE)
        self.rearrange(replace(self.arrangement, words=""))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self.readonly and action in WRITING:
            return False
        return super().check_action(action, parameters)
