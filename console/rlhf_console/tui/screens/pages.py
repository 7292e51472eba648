"""Views that are a text to scroll through: sanity lights, results."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.widget import Widget

from rlhf_console.headlines import Declared
from rlhf_console.render import result
from rlhf_console.runs.focus import OpenRun
from rlhf_console.tui.drawing.cells import Row, text_cells
from rlhf_console.tui.drawing.checks import check_rows
from rlhf_console.tui.drawing.pareto import pareto_rows
from rlhf_console.tui.drawing.ranks import rank_rows
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
    """Of a run of several processes, first what each of them does."""

    TITLE = "Checks"

    def rows(self, run: OpenRun, width: int) -> list[Row]:
        return [*rank_rows(run.ranks.reports, width, time.time()), *check_rows(run.live.summary, width)]


class ResultView(PageView):
    """Of a sweep first its gain against its cost."""

    TITLE = "Result"

    def rows(self, run: OpenRun, width: int) -> list[Row]:
        results = run.live.summary.results
        text = "\n\n".join(result(name, data, width=width - 1) for name, data in results.items())
        over = run.live.summary.exit_code is not None
        nothing = "this run has no result" if over else "no result yet: if there is one, it comes at the end"
        return [*pareto_rows(results, width), *(text_cells(line) for line in (text or nothing).split("\n"))]
