"""What the policy wrote: a list that can be ordered and searched, and the chosen sample in full."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input

from rlhf_console.headlines import Declared
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.sample_query import ORDERS, TITLE_ORDER, Query, select, step_of_update, steps_of
from rlhf_console.runs.samples_file import SamplesFile
from rlhf_console.runs.title_copy import MEANING
from rlhf_console.tui.drawing.cells import Row, text_cells
from rlhf_console.tui.drawing.heat import Heat, heats_of
from rlhf_console.tui.drawing.samples import (
    LISTED,
    chosen_row,
    damaged_row,
    sample_heading,
    sample_page,
    sample_row,
    sample_text,
)
from rlhf_console.tui.screens.view import View
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_console.tui.widgets.row_view import Page
from rlhf_sdk.events import Sample
from rlhf_sdk.spec import SampleColumn


class SamplesView(View):
    """Follows the newest sample until another one is chosen."""

    TITLE = "Samples"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "order", "Order", id="order"),
        Binding("slash", "search", "Search", id="search"),
        Binding("h", "heat", "Heat", id="sample-heat"),
        Binding("t", "same_prompt", "This prompt through time", show=False, id="sample-same-prompt"),
        Binding("comma", "step(-1)", "Samples of the step before", show=False, id="sample-step-before"),
        Binding("full_stop", "step(1)", "Samples of the step after", show=False, id="sample-step-after"),
        Binding("0", "everything", "All samples, newest first", show=False, id="sample-everything"),
        Binding("f", "group", "Only this group (tag)", show=False, id="sample-group"),
        Binding("left", "token(-1)", "Token before", show=False, id="sample-token-before"),
        Binding("right", "token(1)", "Token after", show=False, id="sample-token-after"),
        Binding("space", "scroll(1)", "Scroll on", show=False, id="scroll-on"),
        Binding("b", "scroll(-1)", "Scroll back", show=False, id="scroll-back"),
    ]
    DEFAULT_CSS = """
    SamplesView #sample-heading { height: 1; }
    SamplesView #sample-list { height: 2fr; }
    SamplesView #sample-page { height: 3fr; }
    SamplesView #sample-rule { height: 1; }
    SamplesView #sample-words { height: 1; border: none; padding: 0; display: none; }
    SamplesView.whole #sample-list, SamplesView.whole #sample-heading { display: none; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run: OpenRun | None = None
        self._query = Query()
        self._listed: Sequence[SampleColumn] = LISTED
        self._heat, self._token = "", 0
        self._shown: object = None
        self._pointed: int | None = None

    def compose(self) -> ComposeResult:
        yield Cells(id="sample-heading")
        yield PickList(self._row, lambda row: row, opens=True, text=self._text, id="sample-list")
        yield Cells(id="sample-rule")
        yield Page(id="sample-page")
        yield Input(placeholder="words that prompt or response has", id="sample-words")

    @property
    def _list(self) -> PickList[int]:
        return self.query_one("#sample-list", PickList)

    @property
    def _samples(self) -> SamplesFile | None:
        return self._run.samples if self._run is not None else None

    @property
    def update_listed(self) -> int | None:
        """The update whose samples alone are listed, if it is so."""
        return None if self._query.step is None else self._query.step + 1

    def main_widget(self) -> Widget:
        return self._list

    def show(self, run: OpenRun, declared: Declared) -> None:
        if run is not self._run:
            self._run, self._query, self._shown = run, Query(step=self._query.step), None
        if not run.samples.is_browsed:
            run.samples.browse()
            self._list_all(run.samples)
        self._follow_pointed()
        self._listed = declared.sample_columns or LISTED
        self._update()

    @work
    async def _list_all(self, samples: SamplesFile) -> None:
        """Finds all lines at once, rather than when the screen next reads; what can't be read, the screen tells."""
        with suppress(OSError):
            while samples.lines.share < 1.0 and samples.read():
                await asyncio.sleep(0)
        self._update()

    def _update(self) -> None:
        """Lists what the query finds, anew where something has come."""
        if self._run is None:
            return
        samples, resumed = self._run.samples, self._run.live.summary.resumed_samples
        scans = [scan and (scan.first, scan.end) for scan in (samples.columns, samples.title_copies, samples.found)]
        now = self._query, samples.rows, samples.lines.opened, scans, len(resumed)
        if now != self._shown:
            self._shown = now
            self._list.show(select(samples, self._query, resumed), follow_first=True)
        self.draw()

    def _row(self, row: int, width: int) -> Row:
        assert self._run is not None, "rows come from a run"
        samples = self._run.samples
        sample = samples.sample(row)
        if sample is None:
            return damaged_row(width)
        copied = math.nan
        if self._query.order == TITLE_ORDER and samples.title_copies is not None:
            copied = samples.title_copies.value(row)
        return sample_row(sample, width, self._listed, copied)

    def _text(self, row: int) -> str:
        sample = None if self._samples is None else self._samples.sample(row)
        return "" if sample is None else sample_text(sample)

    @property
    def _sample(self) -> Sample | None:
        row = self._list.item
        return None if row is None or self._samples is None else self._samples.sample(row)

    def on_resize(self) -> None:
        self.draw()

    @on(PickList.Moved)
    def draw(self) -> None:
        width = self.size.width
        self.query_one("#sample-heading", Cells).show([sample_heading(width, self._listed)])
        self.query_one("#sample-rule", Cells).show([chosen_row(self._in_words(), self._place(), width)])
        page, sample = self.query_one(Page), self._sample
        if sample is None:
            nothing = "no samples yet" if self._query.is_everything else "no such samples"
            page.show([text_cells("this line can't be read" if self._list.count else nothing, "dim")])
            return
        heat = Heat(self._heat, self._token) if self._heat in heats_of(sample) else None
        page.show(sample_page(sample, page.row_width, page.size.height, heat))

    def _in_words(self) -> str:
        query, copies = self._query, self._query.order == TITLE_ORDER
        parts = [MEANING if copies else query.order, query.tag]
        parts += [f"after {query.step} update{'s' * (query.step != 1)}"] if query.step is not None else []
        parts += ["one prompt through time"] if query.prompt is not None else []
        parts += [f"with {query.words}"] if query.words else []
        return " · ".join(part for part in parts if part)

    def _place(self) -> str:
        """Which sample is chosen, of how many; how much of the file has been looked at, while that isn't all."""
        samples, listed = self._samples, self._list
        place = f"{listed.cursor + 1} of {listed.count}" if listed.count else ""
        return place if samples is None or samples.is_read else f"{samples.share:.0%} read  {place}"

    def _ask(self, query: Query) -> None:
        """Lists what `query` finds, from the top."""
        self._query = query
        if self._samples is not None:
            self._samples.search(query.words)
            if query.order == TITLE_ORDER:
                self._samples.measure_title_copies()
        self._update()
        self._list.action_move(-self._list.count)
        self.draw()

    def point(self, update: int) -> None:
        """Lists the samples that were written during `update`, or the nearest one that has some."""
        self._pointed = update
        self._follow_pointed()

    def _follow_pointed(self) -> None:
        """Once the file has been read so far that the nearest step is known."""
        if self._pointed is None or self._samples is None or not self._samples.is_read:
            return
        step, self._pointed = step_of_update(self._samples, self._pointed), None
        self._ask(replace(self._query, step=step))

    def action_order(self) -> None:
        self._ask(replace(self._query, order=ORDERS[(ORDERS.index(self._query.order) + 1) % len(ORDERS)]))

    def action_everything(self) -> None:
        self._ask(Query())

    def action_same_prompt(self) -> None:
        """All samples of the chosen one's prompt, or of all prompts again."""
        sample = self._sample
        if sample is not None:
            self._ask(replace(self._query, prompt=None if self._query.prompt is not None else hash(sample.prompt)))

    def action_group(self) -> None:
        """The next tag's samples; after the last one those of all."""
        if self._samples is not None:
            tags = ["", *self._samples.columns.tag_names]
            self._ask(replace(self._query, tag=tags[(tags.index(self._query.tag) + 1) % len(tags)]))

    def action_step(self, by: int) -> None:
        """From the chosen sample's step to the next one that has samples."""
        sample, samples = self._sample, self._samples
        if sample is None or samples is None:
            return
        steps, before = steps_of(samples), self._query.step
        if not steps:
            return
        here = steps.index(sample.step) if sample.step in steps else 0
        step = steps[min(max(here + (by if before is not None else 0), 0), len(steps) - 1)]
        self._ask(replace(self._query, step=step))

    def action_heat(self) -> None:
        """The next figure of the tokens; after the last one none."""
        sample = self._sample
        if sample is not None:
            heats = ["", *heats_of(sample)]
            self._heat = heats[(heats.index(self._heat) + 1) % len(heats)] if self._heat in heats else ""
            if len(heats) == 1:
                self.notify("no figures of tokens in this sample", markup=False)
            self.draw()

    def action_token(self, by: int) -> None:
        sample = self._sample
        if sample is not None and self._heat:
            self._token = min(max(self._token + by, 0), max(len(sample.token_ends) - 1, 0))
            self.draw()

    def action_scroll(self, by: int) -> None:
        self.query_one(Page).action_turn(by * max(self.query_one(Page).size.height - 1, 1))

    def action_search(self) -> None:
        field = self.query_one("#sample-words", Input)
        field.display = True
        field.focus()

    @on(Input.Submitted, "#sample-words")
    def _searched(self, message: Input.Submitted) -> None:
        self.query_one("#sample-words", Input).display = False
        self._list.focus()
        self._ask(replace(self._query, words=message.value.strip()))

    @on(PickList.Opened)
    def _opened(self, message: PickList.Opened) -> None:
        message.stop()
        self.add_class("whole")
        self.query_one(Page).focus()
        self.call_after_refresh(self.draw)

    def go_back(self) -> bool:
        if self.query_one("#sample-words", Input).has_focus:
            self.query_one("#sample-words", Input).display = False
            self._list.focus()
        elif self.has_class("whole"):
            self.remove_class("whole")
            self._list.focus()
            self.call_after_refresh(self.draw)
        elif not (self._query.is_everything and self._query.order == ORDERS[0]):
            self.action_everything()
        else:
            return False
        return True
