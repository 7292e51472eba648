"""What the views of a run have in common."""

from __future__ import annotations

from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget

from rlhf_console.headlines import Declared
from rlhf_console.runs.focus import OpenRun


class GoToStep(Message):
    """Somebody wants to see what happened at a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step


class View(Vertical):
    """One tab of a run. A subclass draws what has been read by now; it reads no files."""

    TITLE = ""

    @property
    def where(self) -> str:
        """What is in sight, of how much."""
        return ""

    def show(self, run: OpenRun, declared: Declared) -> None:
        raise NotImplementedError

    def main_widget(self) -> Widget:
        """What the keys go to."""
        return self

    def go_back(self) -> bool:
        """Leaves whatever was entered within the view; False if there was nothing to leave."""
        return False
