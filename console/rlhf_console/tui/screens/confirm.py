"""A question before something that can't be taken back, or that costs time to undo."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from rlhf_console.printable import printable


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
    """

    def __init__(self, question: str, explanation: str = "") -> None:
        super().__init__()
        self._text = printable(question) + (f"\n\n{printable(explanation)}" if explanation else "")

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(f"{self._text}\n\ny Yes   n No", markup=False)

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
