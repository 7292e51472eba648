"""Policies on the same prompts: what changed, for better or worse, and which one a person prefers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from rlhf_console.printable import printable
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.pairs import (
    ORDERS,
    Match,
    Side,
    good_first_choice,
    labels_of,
    matches_of,
    means_of,
    sides_of,
)
from rlhf_console.runs.sent_commands import SentCommands
from rlhf_console.runs.votes import Voting, is_turned
from rlhf_console.tui.drawing.cells import Row, fit, text_cells
from rlhf_console.tui.drawing.comparison import BLIND_HEADS, means_row, pair_row, pair_rows, sides_row
from rlhf_console.tui.drawing.samples import sample_text
from rlhf_console.tui.screens.controlled import ControlledScreen, SentLine
from rlhf_console.tui.screens.keys import hint
from rlhf_console.tui.screens.sides import SidesScreen
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.key_bar import KeyBar
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_console.tui.widgets.row_view import Page
from rlhf_sdk.events import Sample
from rlhf_sdk.preferences import Verdict
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

REFRESH_SECONDS = 1.0
POLL_SECONDS = 0.2


class CompareScreen(ControlledScreen):
    """The list of prompts above, the responses to the chosen one below. The run in focus is the left side's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sides", "Sides", id="sides"),
        Binding("left_square_bracket", "side(0)", "Other left side", show=False, id="left-side"),
        Binding("right_square_bracket", "side(1)", "Other right side", show=False, id="right-side"),
        Binding("o", "order", "Order", id="order"),
        Binding("d", "diff", "Diff", id="word-diff"),
        Binding("z", "blind", "Blind", id="blind"),
        Binding("1", "vote('left')", "Left", show=False, id="vote-left"),
        Binding("2", "vote('right')", "Right", show=False, id="vote-right"),
        Binding("3", "vote('tie')", "Tie", show=False, id="vote-tie"),
        Binding("4", "vote('both_bad')", "Both bad", show=False, id="vote-both-bad"),
        Binding("m", "note", "Note", show=False, id="note"),
        Binding("space", "scroll(1)", "Scroll on", show=False, id="scroll-on"),
        Binding("b", "scroll(-1)", "Scroll back", show=False, id="scroll-back"),
        Binding("escape", "back", "Back", id="back"),
        Binding("q", "app.quit", "Quit", id="quit"),
    ]
    CSS = """
    #compared, #means, #how { height: 1; }
    #pairs { height: 25%; min-height: 3; }
    #pair { height: 1fr; }
    #note { height: 1; border: none; padding: 0; display: none; }
    """

    def __init__(self, runs: list[OpenRun], root: Path, sent: SentCommands, *, readonly: bool) -> None:
        super().__init__(sent, readonly=readonly)
        self._runs, self._voting = runs, Voting(root)
        self._all: list[Side] = []
        self._chosen: tuple[Side, ...] = ()
        self._sides: tuple[Side, ...] = ()
        self._matches: list[Match] = []
        self._seen: object = None
        self._order, self._diff, self._blind = ORDERS[0], True, False
        self._note = ""

    def compose(self) -> ComposeResult:
        yield Cells(id="compared")
        yield Cells(id="means")
        yield PickList(self._row, lambda match: match.prompt, text=self._text, id="pairs")
        yield Cells(id="how")
        yield Page(id="pair")
        yield Input(placeholder="a note that goes with the next vote", id="note")
        yield SentLine()
        yield KeyBar()

    def on_mount(self) -> None:
        self._list.focus()
        for run in self._runs:
            run.samples.browse()
        self._read()
        self.set_interval(REFRESH_SECONDS, self.draw)
        self.call_after_refresh(self.draw)

    @work
    async def _read(self) -> None:
        """Reads what is new; the sides that were chosen stay."""
        while True:
            try:
                self._voting.refresh()
                more = any(run.read() for run in self._runs)
            except (OSError, UserError) as error:
                self.notify(printable(str(error)), severity="error", markup=False)
                return
            await asyncio.sleep(0 if more else POLL_SECONDS)
            if not more:
                self._take_in()

    @property
    def _list(self) -> PickList[Match]:
        return self.query_one("#pairs", PickList)

    def run_in_focus(self) -> RunDir:
        left = self._sides[0].run_id if self._sides else self._runs[0].live.record.id
        return next(run.live.directory for run in self._runs if run.live.record.id == left)

    def _take_in(self) -> None:
        """Finds sides and prompts anew where samples have come."""
        states = [(run.samples.columns.first, run.samples.columns.end, run.samples.lines.opened) for run in self._runs]
        if states == self._seen:
            return
        self._seen = states
        self._all = [side for run in self._runs for side in sides_of(run)]
        self._compare()

    def _compare(self) -> None:
        self._sides = tuple(side for side in self._chosen if side in self._all) or good_first_choice(self._all)
        self._matches = matches_of(self._sides, self._order) if len(self._sides) > 1 else []
        self.draw()

    def on_resize(self) -> None:
        self.draw()

    def draw(self) -> None:
        if not self.in_sight:
            return
        width = self.size.width
        self.query_one(SentLine).follow(self.sent, width)
        self._list.show(self._matches)
        if len(self._sides) < 2:
            nothing = "only one side has samples" if self._sides else "no samples yet"
            self.query_one("#pair", Page).show([text_cells(nothing, "dim")])
            return
        labels = ("?",) * len(self._sides) if self._blind else labels_of(self._sides)
        place = f"{self._list.cursor + 1} of {len(self._matches)}" if self._matches else "no prompt in common"
        self.query_one("#compared", Cells).show([sides_row(labels, self._order, place, width)])
        self.query_one("#means", Cells).show([self._means(width)])
        self._draw_pair()

    def _means(self, width: int) -> Row:
        if self._blind or not self._matches:
            return []
        gains = [match.gain for match in self._matches if match.gain is not None]
        gained = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
        return means_row(means_of(self._sides, self._matches), gained, width)

    def _row(self, match: Match, width: int) -> Row:
        first = self._sides[0].sample(match.rows[0])
        prompt = first.prompt if first is not None else ""
        voted = self._voting.has_vote(prompt, [side.label for side in self._sides])
        return pair_row(prompt, None if self._blind else match.gain, width, voted=voted)

    def _text(self, match: Match) -> str:
        """The responses as they stand, to be copied; when blind without names."""
        samples, sides = self._shown_pair() or ([], [])
        heads = BLIND_HEADS if self._blind else labels_of(sides) if sides else ()
        return "\n\n".join(f"{head}\n{sample_text(each)}" for head, each in zip(heads, samples, strict=True))

    @on(PickList.Moved, "#pairs")
    def _draw_pair(self) -> None:
        page, shown = self.query_one("#pair", Page), self._shown_pair()
        if shown is None:
            page.show([])
            return
        samples, sides = shown
        prompt_rows = page.size.height // 4
        page.show(
            pair_rows(
                samples, labels_of(sides), page.row_width, diff=self._diff, blind=self._blind, prompt_rows=prompt_rows
            )
        )
        votes = not self.readonly and len(sides) == 2
        keys = "1 left  2 right  3 tie  4 both bad  m note" if votes else ""
        note = f"  note: {self._note}" if self._note else ""
        self.query_one("#how", Cells).show([fit(text_cells(keys + note, "accent"), self.size.width)])

    def _shown_pair(self) -> tuple[list[Sample], Sequence[Side]] | None:
        """The chosen prompt's samples and their sides as they stand; when blind some are turned, the same each time."""
        match = self._list.item
        if match is None or len(match.rows) != len(self._sides):
            return None
        found = [side.sample(row) for side, row in zip(self._sides, match.rows, strict=True)]
        samples = [sample for sample in found if sample is not None]
        if len(samples) != len(found):
            return None
        turned = self._blind and is_turned(samples[0].prompt, [side.label for side in self._sides])
        return (samples[::-1], self._sides[::-1]) if turned else (samples, self._sides)

    def action_sides(self) -> None:
        """A list of all sides, to choose two or three from."""
        if self._all and not self._blind:
            self.app.push_screen(SidesScreen(self._all, self._sides), self._choose)

    def _choose(self, sides: tuple[Side, ...] | None) -> None:
        if sides:
            self._chosen = sides
            self._compare()

    def action_side(self, which: int) -> None:
        """The next side on the left, or on the right."""
        if len(self._sides) > 1:
            chosen = list(self._sides)
            place = -which
            chosen[place] = self._all[(self._all.index(chosen[place]) + 1) % len(self._all)]
            self._choose(tuple(chosen))

    def action_order(self) -> None:
        if not self._blind:
            self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
            self._compare()

    def action_diff(self) -> None:
        self._diff = not self._diff
        self.draw()

    def action_blind(self) -> None:
        """Hides which is which; the list is then in the prompts' order, for a gain would tell."""
        if len(self._sides) != 2:
            how = hint(self, "sides", "chooses them")
            self.notify(f"blind votes are on two sides: {how}", severity="warning", markup=False)
            return
        self._blind = not self._blind
        self._order = "prompt" if self._blind else ORDERS[0]
        self._compare()

    def action_scroll(self, by: int) -> None:
        self.query_one("#pair", Page).action_turn(by * 5)

    def action_note(self) -> None:
        field = self.query_one("#note", Input)
        field.display = True
        field.focus()

    @on(Input.Submitted, "#note")
    def _noted(self, message: Input.Submitted) -> None:
        self._note = message.value
        self._leave_note()
        self._draw_pair()

    def _leave_note(self) -> None:
        self.query_one("#note", Input).display = False
        self._list.focus()

    def action_back(self) -> None:
        if self.query_one("#note", Input).has_focus:
            self._leave_note()
        else:
            self.app.pop_screen()

    def action_vote(self, verdict: Verdict) -> None:
        shown = self._shown_pair()
        if self.readonly or shown is None or len(shown[1]) != 2:
            return
        (left, right), sides = shown
        try:
            self._voting.vote((left, right), (sides[0], sides[1]), verdict, blind=self._blind, note=self._note)
            self._voting.refresh()
        except OSError as error:
            self.notify(printable(f"{self._voting.file}: {error.strerror}"), severity="error", markup=False)
            return
        was = f": left was {sides[0].label}" if self._blind else ""
        self.notify(printable(f"{verdict.replace('_', ' ')}{was}"), timeout=3, markup=False)
        self._note = ""
        self._list.action_move(1)
        self.draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self.readonly and action in ("vote", "note"):
            return False
        return super().check_action(action, parameters)
