"""The list of runs: live, by keyboard or mouse."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Footer, Static

from rlhf_console.headlines import headline
from rlhf_console.printable import printable
from rlhf_console.render import duration
from rlhf_console.tui.glyphs import state_label
from rlhf_console.tui.watcher import RunList, RunRow
from rlhf_sdk.states import State

REFRESH_SECONDS = 0.5
SELECTED, HEADING = Style(reverse=True), Style(bold=True)
COLUMNS = (("run", 34), ("state", 12), ("steps", 10), ("time", 16))


class RunTable(ScrollView, can_focus=True):
    """Rows drawn as they are needed, so that thousands cost nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "move(-10)", "Page up", show=False),
        Binding("pagedown", "move(10)", "Page down", show=False),
        Binding("home", "move(-1000000)", "First", show=False),
        Binding("end", "move(1000000)", "Last", show=False),
        Binding("enter", "open", "Open"),
    ]

    class Opened(Message):
        """The user opened a run."""

        def __init__(self, row: RunRow) -> None:
            super().__init__()
            self.row = row

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[RunRow] = []
        self._strips: list[tuple[str, Style, str]] = []
        self.selected = 0

    def show(self, rows: list[RunRow]) -> None:
        """Keeps the cursor on the run that it was on."""
        current = self._rows[self.selected].live.record.id if self._rows else None
        self._rows = rows
        ids = [row.live.record.id for row in rows]
        self.selected = ids.index(current) if current in ids else min(self.selected, max(len(rows) - 1, 0))
        drawn = [self._line(row) for row in rows]
        changed = [y for y, line in enumerate(drawn) if y >= len(self._strips) or self._strips[y] != line]
        shrunk, self._strips = len(drawn) < len(self._strips), drawn
        self.virtual_size = Size(self.size.width, len(rows))
        if shrunk:
            self.refresh()
        for y in changed:
            self._refresh_row(y)

    def _line(self, row: RunRow) -> tuple[str, Style, str]:
        record, summary = row.live.record, row.live.summary
        name = f"  └ {record.stage}" if record.pipeline else record.id
        steps = f"{summary.step}/{summary.total_steps}" if summary.total_steps else "-"
        left = duration(summary.eta_seconds) if row.state is State.RUNNING else _ago(summary.last_time)
        label, style = state_label(row.state)
        widths = [width for _, width in COLUMNS]
        before = printable(name)[: widths[0] - 1].ljust(widths[0])
        after = f"{label.ljust(widths[1])}\0{steps.ljust(widths[2])}{left.ljust(widths[3])}{headline(row.live)}"
        return before, style, after

    def _refresh_row(self, y: int) -> None:
        self.refresh(Region(0, y - self.scroll_offset.y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        index = y + self.scroll_offset.y
        if index >= len(self._strips):
            return Strip.blank(self.size.width)
        before, style, after = self._strips[index]
        label, _, rest = after.partition("\0")
        strip = Strip([Segment(before), Segment(label, style), Segment(rest)]).adjust_cell_length(self.size.width)
        return strip.apply_style(SELECTED) if index == self.selected else strip

    def action_move(self, by: int) -> None:
        if self._rows:
            before, self.selected = self.selected, min(max(self.selected + by, 0), len(self._rows) - 1)
            self._refresh_row(before)
            self._refresh_row(self.selected)
            self.scroll_to_region(Region(0, self.selected, 1, 1), animate=False)

    def action_open(self) -> None:
        if self._rows:
            self.post_message(self.Opened(self._rows[self.selected]))

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if index < len(self._rows):
            self.action_move(index - self.selected)
            if event.chain > 1:
                self.action_open()


def _ago(moment: float) -> str:
    return f"{duration(time.time() - moment)} ago" if moment else ""


class RunsScreen(Screen[None]):
    """Every run of the root."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "app.quit", "Quit")]
    CSS = """
    #heading { height: 1; text-style: bold; }
    #columns { height: 1; color: $text-muted; }
    RunTable { height: 1fr; }
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.runs = RunList(root)

    def compose(self) -> ComposeResult:
        yield Static("", id="heading", markup=False)
        yield Static("".join(name.ljust(width) for name, width in COLUMNS) + "figures", id="columns", markup=False)
        yield RunTable()
        yield Footer()

    def on_mount(self) -> None:
        self.reload()
        self.set_interval(REFRESH_SECONDS, self.reload)

    @work(exclusive=True)
    async def reload(self) -> None:
        rows = await self.runs.refresh()
        self.query_one(RunTable).show(rows)
        live = sum(row.state in (State.RUNNING, State.STARTING, State.PAUSED) for row in rows)
        where = printable(str(self.runs.root))
        said = (
            f"{len(rows)} runs, {live} at work · {where}"
            if rows
            else f"No runs yet; start one with `rlhf demo` · {where}"
        )
        heading = self.query_one("#heading", Static)
        if heading.content != said:
            heading.update(said)
