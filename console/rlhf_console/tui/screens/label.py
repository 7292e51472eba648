"""One pair after another, one key a vote. Whose the responses are is not shown, before or after."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from rlhf_console.printable import printable
from rlhf_console.runs.labelling import Labelling
from rlhf_console.runs.vote_summary import tables_of
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.label import end_rows, head_row, heads_row, prompt_rows, response_rows, told_row
from rlhf_console.tui.screens.keys import hint
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.key_bar import KeyBar
from rlhf_console.tui.widgets.row_view import Page
from rlhf_sdk.preferences import Verdict

HINTS = {"vote-both-bad": "both bad", "word-diff": "marks the words that differ", "scroll-on": "reads on"}
FRAME_ROWS = 5
"""Head, heads of the responses and a blank row above them, what was told, keys."""


class LabelScreen(Screen[None]):
    """The prompt above, the responses right below it; where not all fits, these take at most three fifths."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1,left", "vote('left')", "Left", id="vote-left"),
        Binding("2,right", "vote('right')", "Right", id="vote-right"),
        Binding("3,t", "vote('tie')", "Tie", id="vote-tie"),
        Binding("4", "vote('both_bad')", "Both bad", show=False, id="vote-both-bad"),
        Binding("s", "skip", "Skip", id="skip-pair"),
        Binding("u", "undo", "Undo", id="undo-vote"),
        Binding("m", "note", "Note", id="note"),
        Binding("d", "diff", "Diff", show=False, id="word-diff"),
        Binding("space", "scroll('#label-prompt', 1)", "Scroll on", show=False, id="scroll-on"),
        Binding("b", "scroll('#label-prompt', -1)", "Scroll back", show=False, id="scroll-back"),
        Binding("down,j", "scroll('#label-responses', 1)", "Responses down", show=False, id="responses-down"),
        Binding("up,k", "scroll('#label-responses', -1)", "Responses up", show=False, id="responses-up"),
        Binding("escape", "leave_note", "Back", show=False, id="back"),
        Binding("q", "app.quit", "Quit", id="quit"),
    ]
    CSS = """
    #label-head, #label-heads, #label-told { height: 1; }
    #label-heads { margin-top: 1; }
    #label-prompt, #label-responses { height: 3; }
    #label-note { height: 1; border: none; padding: 0; display: none; }
    """

    def __init__(self, session: Labelling) -> None:
        super().__init__()
        self._session = session
        self._note, self._told, self._diff = "", "", False

    def compose(self) -> ComposeResult:
        yield Cells(id="label-head")
        yield Page(id="label-prompt")
        yield Cells(id="label-heads")
        yield Page(id="label-responses")
        yield Cells(id="label-rest")
        yield Cells(id="label-told")
        yield Input(placeholder="a note that goes with the next vote", id="label-note")
        yield KeyBar()

    def on_mount(self) -> None:
        self._told = ", ".join(filter(None, [hint(self, action, what) for action, what in HINTS.items()]))
        self.call_after_refresh(self.draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw)

    @property
    def _prompt(self) -> Page:
        return self.query_one("#label-prompt", Page)

    @property
    def _responses(self) -> Page:
        return self.query_one("#label-responses", Page)

    def draw(self) -> None:
        """What was told and how far one is; the prompt, and right below it the responses, or what the votes say."""
        width, task = self.size.width, self._session.task
        self.query_one("#label-head", Cells).show([head_row(self._session, width)])
        self.query_one("#label-told", Cells).show([told_row(self._told, self._note, width)])
        if task is None:
            self._show(end_rows(self._session, tables_of(self._session.votes, {})), [])
        else:
            responses = response_rows(task.responses, self._responses.row_width, diff=self._diff)
            self._show(prompt_rows(task.pair.prompt, self._prompt.row_width), responses)
        self.call_after_refresh(self._draw_heads)

    def _show(self, above: list[Row], below: list[Row]) -> None:
        room = max(self.size.height - FRAME_ROWS, 2)
        lower = min(len(below), max(room * 3 // 5, room - len(above)))
        upper = min(len(above), room - lower)
        for page, rows, height in ((self._prompt, above, upper), (self._responses, below, lower)):
            page.styles.height = height
            page.show(rows)
        self.query_one("#label-rest").styles.height = room - upper - lower

    def _draw_heads(self) -> None:
        if self._session.task is None:
            self.query_one("#label-heads", Cells).show([[]])
            return
        page = self._prompt
        hidden = max(int(page.virtual_size.height - page.size.height - page.scroll_offset.y), 0)
        self.query_one("#label-heads", Cells).show([heads_row(hidden, self.size.width)])

    def _show_next(self, told: str) -> None:
        self._told = told
        for page in (self._prompt, self._responses):
            page.scroll_home(animate=False)
        self.draw()

    def action_vote(self, verdict: Verdict) -> None:
        try:
            vote = self._session.vote(verdict, self._note)
        except OSError as error:
            self._refuse(error)
            return
        if vote is not None:
            self._note = ""
            self._show_next(f"kept: {verdict.replace('_', ' ')}")

    def action_skip(self) -> None:
        self._session.skip()
        self._show_next("skipped")

    def action_undo(self) -> None:
        try:
            undone = self._session.undo()
        except OSError as error:
            self._refuse(error)
            return
        self._show_next("taken back: vote again" if undone else "nothing to take back")

    def _refuse(self, error: OSError) -> None:
        self.notify(printable(f"{self._session.store.file}: {error.strerror}"), severity="error", markup=False)

    def action_diff(self) -> None:
        self._diff = not self._diff
        self.draw()

    def action_scroll(self, which: str, by: int) -> None:
        page = self.query_one(which, Page)
        page.action_turn(by * max(page.size.height - 1, 1) if which == "#label-prompt" else by)
        self._draw_heads()

    def action_note(self) -> None:
        field = self.query_one("#label-note", Input)
        field.display = True
        field.focus()

    @on(Input.Submitted, "#label-note")
    def _noted(self, message: Input.Submitted) -> None:
        self._note = message.value.strip()
        message.input.clear()
        self.action_leave_note()
        self.draw()

    def action_leave_note(self) -> None:
        self.query_one("#label-note", Input).display = False
        self.set_focus(None)
