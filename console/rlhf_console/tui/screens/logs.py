"""What the worker printed, as it comes."""

from __future__ import annotations

import os
from collections.abc import Iterator

from textual.app import ComposeResult
from textual.widget import Widget

from rlhf_console.headlines import Declared
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.log_file import LogFile
from rlhf_console.tui.drawing.cells import Row, fit, text_cells
from rlhf_console.tui.screens.view import View
from rlhf_console.tui.widgets.row_view import Page
from rlhf_sdk.bounds import open_plain


class LogLines(Page):
    """Lines fetched from the file as they come into sight; stays at the end until somebody scrolls away from it."""

    def __init__(self) -> None:
        super().__init__()
        self.log_file: LogFile | None = None
        self._at_end = True

    def follow(self, log_file: LogFile) -> None:
        if log_file is not self.log_file:
            self.log_file, self._at_end = log_file, True
        self.update(len(log_file))
        if self._at_end:
            self.scroll_end(animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._at_end = new_value >= self.max_scroll_y

    def lines_of_text(self) -> Iterator[str]:
        """The whole file, also what has not been in sight."""
        if self.log_file is not None:
            with os.fdopen(open_plain(self.log_file.path), "rb") as stream:
                for line in stream:
                    yield line.decode(errors="replace").rstrip("\r\n")

    def row(self, index: int) -> Row:
        if self.log_file is None or index >= len(self.log_file):
            return []
        return fit(text_cells(self.log_file.line(index)), self.row_width)


class LogsView(View):
    TITLE = "Logs"

    def compose(self) -> ComposeResult:
        yield LogLines()

    @property
    def where(self) -> str:
        log_file = self.query_one(LogLines).log_file
        return f"{len(log_file)} lines" if log_file else ""

    def main_widget(self) -> Widget:
        return self.query_one(LogLines)

    def show(self, run: OpenRun, declared: Declared) -> None:
        self.query_one(LogLines).follow(run.log_file)
