"""What the policy wrote, newest first: a list, and the chosen sample in full."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widget import Widget

from rlhf_console.headlines import Declared
from rlhf_console.runs.focus import OpenRun
from rlhf_console.tui.drawing.cells import fit, text_cells
from rlhf_console.tui.drawing.samples import sample_heading, sample_page, sample_row, sample_text
from rlhf_console.tui.screens.view import View
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_console.tui.widgets.row_view import Page


class SamplesView(View):
    """Follows the newest sample until another one is chosen."""

    TITLE = "Samples"

    DEFAULT_CSS = """
    SamplesView #sample-heading { height: 1; }
    SamplesView #sample-list { height: 2fr; }
    SamplesView #sample-page { height: 3fr; }
    SamplesView #sample-rule { height: 1; }
    """

    def compose(self) -> ComposeResult:
        yield Cells(id="sample-heading")
        yield PickList(sample_row, lambda sample: sample.seq, text=sample_text, id="sample-list")
        yield Cells(id="sample-rule")
        yield Page(id="sample-page")

    @property
    def where(self) -> str:
        """Which sample is chosen, of how many."""
        samples = self.query_one(PickList)
        return f"{samples.cursor + 1} of {samples.count}" if samples.count else ""

    def show(self, run: OpenRun, declared: Declared) -> None:
        self.query_one(PickList).show(list(reversed(run.samples)), follow_first=True)
        self.draw()

    def on_resize(self) -> None:
        self.draw()

    @on(PickList.Moved)
    def draw(self) -> None:
        width = self.size.width
        self.query_one("#sample-heading", Cells).show([sample_heading(width)])
        self.query_one("#sample-rule", Cells).show([fit(text_cells("─" * width, "dim"), width)])
        page, sample = self.query_one(Page), self.query_one(PickList).item
        nothing = [text_cells("no samples yet", "dim")]
        page.show(sample_page(sample, page.row_width, page.size.height) if sample is not None else nothing)

    def main_widget(self) -> Widget:
        return self.query_one(PickList)
