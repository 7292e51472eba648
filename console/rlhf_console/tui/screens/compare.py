"""Two policies on the same prompts: what changed, for better or worse, and which one a person prefers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Input

from rlhf_console.printable import printable
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.pairs import ORDERS, Pair, Side, good_first_choice, labels_of, pairs_of, sides_of
from rlhf_console.runs.sent_commands import SentCommands
from rlhf_console.runs.votes import Verdict, Voting, is_turned
from rlhf_console.tui.drawing.cells import text_cells
from rlhf_console.tui.drawing.comparison import pair_row, pair_rows, sides_row
from rlhf_console.tui.screens.controlled import ControlledScreen, SentLine
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_console.tui.widgets.row_view import Page
from rlhf_sdk.run_dir import RunDir

REFRESH_SECONDS = 1.0
LISTED = 8


class CompareScreen(ControlledScreen):
    """The list of prompts above, the chosen one's two responses below. The run in focus is the left one's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_square_bracket", "side(0)", "Sides", key_display="[ ]", id="left-side"),
        Binding("right_square_bracket", "side(1)", "Other right side", show=False, id="right-side"),
        Binding("o", "order", "Order", id="order"),
        Binding("d", "diff", "Diff", id="word-diff"),
        Binding("z", "blind", "Blind", id="blind"),
        Binding("1", "vote('left')", "Left", show=False, id="vote-left"),
        Binding("2", "vote('right')", "Right", show=False, id="vote-right"),
        Binding("3", "vote('tie')", "Tie", show=False, id="vote-tie"),
        Binding("4", "vote('both_bad')", "Both bad", show=False, id="vote-both-bad"),
        Binding("m", "note", "Note", show=False, id="note"),
        Binding("space", "scroll(1)", "Scroll the responses", show=False, id="scroll-on"),
        Binding("b", "scroll(-1)", "Scroll back", show=False, id="scroll-back"),
        Binding("escape", "app.pop_screen", "Back", id="back"),
        Binding("q", "app.quit", "Quit", id="quit"),
    ]
    CSS = f"""
    #sides {{ height: 1; }}
    #pairs {{ height: {LISTED}; }}
    #how {{ height: 1; }}
    #pair {{ height: 1fr; }}
    #note {{ height: 1; border: none; padding: 0; display: none; }}
    """

    def __init__(self, runs: list[OpenRun], root: Path, sent: SentCommands, *, readonly: bool) -> None:
        super().__init__(sent, readonly=readonly)
        self._runs, self._voting = runs, Voting(root)
        self._sides: list[Side] = []
        self._chosen: tuple[int, int] | None = None
        self._order, self._diff, self._blind = ORDERS[0], True, False
        self._note = ""

    def compose(self) -> ComposeResult:
        yield Cells(id="sides")
        yield PickList(pair_row, lambda pair: pair.prompt, id="pairs")
        yield Cells(id="how")
        yield Page(id="pair")
        yield Input(placeholder="a note that goes with the next vote", id="note")
        yield SentLine()
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#pairs", PickList).focus()
        self.set_interval(REFRESH_SECONDS, self.refresh_sides)
        self.call_after_refresh(self.refresh_sides)

    def run_in_focus(self) -> RunDir:
        sides = self._pair_of_sides
        left = sides[0].run_id if sides is not None else self._runs[0].live.record.id
        return next(run.live.directory for run in self._runs if run.live.record.id == left)

    def refresh_sides(self) -> None:
        """Reads what is new; the sides that were chosen stay."""
        for run in self._runs:
            run.read()
        self._sides = [side for run in self._runs for side in sides_of(run)]
        self.draw()

    def on_resize(self) -> None:
        self.draw()

    @property
    def _pair_of_sides(self) -> tuple[Side, Side] | None:
        if not self._sides:
            return None
        left, right = self._chosen or good_first_choice(self._sides)
        return self._sides[left % len(self._sides)], self._sides[right % len(self._sides)]

    def draw(self) -> None:
        sides, width = self._pair_of_sides, self.size.width
        pairs = self.query_one("#pairs", PickList)
        self.query_one(SentLine).follow(self.sent, width)
        if sides is None:
            self.query_one("#pair", Page).show([text_cells("no samples yet", "dim")])
            return
        found = pairs_of(*sides, self._order)
        pairs.show(found)
        labels = ("?", "?") if self._blind else labels_of(sides)
        place = f"{pairs.cursor + 1} of {len(found)}" if found else "no prompt in common"
        self.query_one("#sides", Cells).show([sides_row(labels, self._order, place, width)])
        self._draw_pair()

    @on(PickList.Moved, "#pairs")
    def _draw_pair(self) -> None:
        sides, page, pair = self._pair_of_sides, self.query_one("#pair", Page), self._shown_pair()
        if sides is None or pair is None:
            page.show([])
            return
        page.show(pair_rows(pair, labels_of(sides), page.row_width, diff=self._diff, blind=self._blind))
        keys = "1 left  2 right  3 tie  4 both bad  m note" if not self.readonly else ""
        note = f"  note: {self._note}" if self._note else ""
        self.query_one("#how", Cells).show([text_cells(keys + note, "accent")])

    def _shown_pair(self) -> Pair | None:
        """The chosen pair; when blind some are turned, the same each time."""
        pair, sides = self.query_one("#pairs", PickList).item, self._pair_of_sides
        if not isinstance(pair, Pair) or sides is None:
            return None
        turned = self._blind and is_turned(pair.prompt, (sides[0].label, sides[1].label))
        return replace(pair, left=pair.right, right=pair.left) if turned else pair

    def action_side(self, which: int) -> None:
        """The next side on the left, or on the right."""
        if self._sides:
            chosen = list(self._chosen or good_first_choice(self._sides))
            chosen[which] = (chosen[which] + 1) % len(self._sides)
            self._chosen = chosen[0], chosen[1]
            self.draw()

    def action_order(self) -> None:
        self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
        self.draw()

    def action_diff(self) -> None:
        self._diff = not self._diff
        self.draw()

    def action_blind(self) -> None:
        """Hides which is which; the list is then in the prompts' order, for a gain would tell."""
        self._blind = not self._blind
        self._order = "prompt" if self._blind else ORDERS[0]
        self.draw()

    def action_scroll(self, by: int) -> None:
        self.query_one("#pair", Page).action_turn(by * 5)

    def action_note(self) -> None:
        field = self.query_one("#note", Input)
        field.display = True
        field.focus()

    @on(Input.Submitted, "#note")
    def _noted(self, message: Input.Submitted) -> None:
        self._note = message.value
        self.query_one("#note", Input).display = False
        self.query_one("#pairs", PickList).focus()
        self._draw_pair()

    def action_vote(self, verdict: Verdict) -> None:
        pair, sides = self._shown_pair(), self._pair_of_sides
        if self.readonly or pair is None or sides is None:
            return
        turned = self._blind and is_turned(pair.prompt, (sides[0].label, sides[1].label))
        shown = (sides[1], sides[0]) if turned else sides
        try:
            self._voting.vote(pair, shown, verdict, blind=self._blind, note=self._note)
        except OSError as error:
            self.notify(printable(f"{self._voting.file}: {error.strerror}"), severity="error", markup=False)
            return
        was = f": left was {shown[0].label}" if self._blind else ""
        self.notify(printable(f"{verdict.replace('_', ' ')}{was}"), timeout=3, markup=False)
        self._note = ""
        self.query_one("#pairs", PickList).action_move(1)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self.readonly and action in ("vote", "note"):
            return False
        return super().check_action(action, parameters)
