"""Views that are a text to scroll through: sanity lights, config, results."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget

from rlhf_console.headlines import Declared
from rlhf_console.render import result
from rlhf_console.runs.focus import OpenRun
from rlhf_console.tui.drawing.cells import Row, text_cells
from rlhf_console.tui.drawing.checks import check_rows
from rlhf_console.tui.drawing.config import config_rows
from rlhf_console.tui.screens.view import View
from rlhf_console.tui.widgets.row_view import Page


class PageView(View):
    """A subclass makes the rows."""

    def compose(self) -> ComposeResult:
        yield Page()

    def main_widget(self) -> Widget:
        return self.query_one(Page)

    def show(self, run: OpenRun, declared: Declared) -> None:
        self.query_one(Page).show(self.rows(run, max(self.size.width - 1, 1)))

    def rows(self, run: OpenRun, width: int) -> list[Row]:
        raise NotImplementedError


class ChecksView(PageView):
    TITLE = "Checks"

    def rows(self, run: OpenRun, width: int) -> list[Row]:
        return check_rows(run.live.summary, width)


class ResultView(PageView):
    TITLE = "Result"

    def rows(self, run: OpenRun, width: int) -> list[Row]:
        results = run.live.summary.results
        text = "\n\n".join(result(name, data, width=width - 1) for name, data in results.items())
        return [text_cells(line) for line in (text or "no result yet: there is one at the end").split("\n")]


class ConfigView(PageView):
    TITLE = "Config"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("a", "all_keys", "All keys", id="all-keys")]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._all_keys = False

    def rows(self, run: OpenRun, width: int) -> list[Row]:
        now = {event.key: event.value for event in run.live.summary.values_set}
        return config_rows(run.live.record, now, width, all_keys=self._all_keys)

    def action_all_keys(self) -> None:
        self._all_keys = not self._all_keys
