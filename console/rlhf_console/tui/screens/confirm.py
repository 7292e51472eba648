"""A question before something that can't be taken back, or that costs time to undo."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from rlhf_console.printable import printable
from rlhf_console.tui.drawing.cells import text_cells
from rlhf_console.tui.screens.keys import key_of
from rlhf_console.tui.widgets.bar import Bar


class Confirm(ModalScreen[bool]):
    """Answers True for y or enter, False for n or escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", "Yes", id="yes"),
        Binding("n,escape,q", "answer(False)", "No", id="no"),
    ]
    CSS = """
    Confirm { align: center middle; }
    Confirm Vertical { width: auto; max-width: 90%; height: auto; padding: 1 3; border: round $primary; }
    Confirm Static { width: auto; height: auto; }
    Confirm Bar { width: 24; margin-top: 1; }
    """

    def __init__(self, question: str, explanation: str = "") -> None:
        super().__init__()
        self._text = printable(question) + (f"\n\n{printable(explanation)}" if explanation else "")

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._text, markup=False)
            yield Bar()

    def on_mount(self) -> None:
        answers = [f"{key_of(self, name)} {said}" for name, said in (("yes", "Yes"), ("no", "No"))]
        bar = self.query_one(Bar)
        bar.show_parts([text_cells(answer, "accent") for answer in answers], [], 24)

    @on(Bar.Chosen)
    def _clicked(self, message: Bar.Chosen) -> None:
        self.action_answer(message.place == 0)

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
