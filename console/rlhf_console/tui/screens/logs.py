"""What the worker printed, as it comes; all of it, or the lines that somebody looks for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input

from rlhf_console.headlines import Declared
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.log_file import LogFile
from rlhf_console.runs.log_matches import LEVELS, Level, LogMatches
from rlhf_console.tui.drawing.cells import Row, text_cells
from rlhf_console.tui.drawing.log_line import log_row
from rlhf_console.tui.screens.view import View
from rlhf_console.tui.widgets.row_view import Page
from rlhf_sdk.bounds import open_plain


class LogLines(Page):
    """Lines fetched from the file as they come into sight; stays at the end until somebody scrolls away from it."""

    def __init__(self) -> None:
        super().__init__()
        self.log_file: LogFile | None = None
        self.matches: LogMatches | None = None
        self.words = ""
        self.at_end = True
        self._counted = True

    def follow(self, log_file: LogFile) -> None:
        if log_file is not self.log_file:
            self.log_file, self.at_end = log_file, True
        at_end, before = self.at_end, self.virtual_size.height
        self.update(max(len(log_file if self.matches is None else self.matches), 1))
        if at_end:
            self.scroll_end(animate=False)
        elif log_file.counted and not self._counted:
            self.scroll_relative(y=len(log_file) - before, animate=False)
        self._counted = log_file.counted

    def narrow(self, matches: LogMatches | None, words: str) -> None:
        """Shows these lines alone; with None all again, and the one that was at the top among them."""
        top = self.scroll_offset.y
        number = self.matches.line(top)[0] if self.matches else None
        self.matches, self.words, self.at_end = matches, words, matches is not None or number is None
        self._drawn = {}
        self.refresh()
        if self.log_file is not None:
            self.follow(self.log_file)
        if matches is None and number is not None:
            self.call_after_refresh(self.scroll_to, y=number, animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.at_end = new_value >= self.max_scroll_y

    def lines_of_text(self) -> Iterator[str]:
        """The whole file, also what has not been in sight."""
        if self.log_file is not None:
            with os.fdopen(open_plain(self.log_file.path), "rb") as stream:
                for line in stream:
                    yield line.decode(errors="replace").rstrip("\r\n")

    def row(self, index: int) -> Row:
        if self.matches is not None:
            return self._found_row(self.matches, index)
        if self.log_file is None or index >= len(self.log_file):
            return text_cells("nothing was printed yet", "dim") if index == 0 else []
        return log_row(self.log_file.line(index), "", self.row_width)

    def _found_row(self, matches: LogMatches, index: int) -> Row:
        if index >= len(matches):
            said = "no such line" if matches.caught_up else "looking ..."
            return text_cells(said, "dim") if index == 0 else []
        number, line = matches.line(index)
        return log_row(line, self.words, self.row_width, number)


class LogsView(View):
    """`/` and `w` narrow down; escape shows all again, around the line that was at the top."""

    TITLE = "Logs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="filter"),
        Binding("w", "level", "Warnings, errors", id="level"),
        Binding("0", "follow", "Follow what comes", show=False, id="follow"),
    ]
    DEFAULT_CSS = "LogsView Input { height: 1; border: none; padding: 0; display: none; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._words = ""
        self._level: Level = "all"
        self._looking: LogMatches | None = None
        self._shown = LogLines()

    def compose(self) -> ComposeResult:
        yield self._shown
        yield Input(placeholder="words that a line has", id="log-words")

    @property
    def where(self) -> str:
        shown = self._shown
        if shown.log_file is None:
            return ""
        level = "" if self._level == "all" else f"{self._level}s"
        words = f"/{self._words}/" if self._words else ""
        found = _found(shown.matches) if shown.matches is not None else ""
        total = f"{len(shown.log_file)} lines" if shown.log_file.counted else "counting"
        return "  ".join(part for part in (level, words, found or total) if part)

    def main_widget(self) -> Widget:
        return self._shown

    def show(self, run: OpenRun, declared: Declared) -> None:
        run.follow_log()
        shown = self._shown
        if run.log_file is not shown.log_file:
            self._words, self._level = "", "all"
            shown.narrow(None, "")
        shown.follow(run.log_file)
        if shown.matches is not None and self._looking is not shown.matches:
            self._looking = shown.matches
            self._look(shown.matches)

    @work(thread=True)
    def _look(self, matches: LogMatches) -> None:
        """Aside: through a long log this takes seconds. At the next drawing again, for what came since."""
        while matches is self._shown.matches and matches.read():
            pass
        if self._looking is matches:
            self._looking = None

    def _narrow(self) -> None:
        shown = self._shown
        if shown.log_file is not None:
            wanted = self._words or self._level != "all"
            matches = LogMatches(shown.log_file.path, self._words, self._level) if wanted else None
            shown.narrow(matches, self._words)

    def go_back(self) -> bool:
        if not self._words and self._level == "all":
            return False
        self._words, self._level = "", "all"
        self._narrow()
        return True

    def action_level(self) -> None:
        self._level = LEVELS[(LEVELS.index(self._level) + 1) % len(LEVELS)]
        self._narrow()

    def action_follow(self) -> None:
        self._shown.scroll_end(animate=False)

    def action_filter(self) -> None:
        field = self.query_one("#log-words", Input)
        field.value, field.display = self._words, True
        field.focus()

    @on(Input.Submitted, "#log-words")
    def _words_chosen(self, message: Input.Submitted) -> None:
        message.input.display = False
        self._words = message.value
        self._shown.focus()
        self._narrow()


def _found(matches: LogMatches) -> str:
    return f"{len(matches)} found" + ("" if matches.caught_up else " so far")
