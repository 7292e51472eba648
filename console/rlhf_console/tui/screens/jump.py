"""Letters over everything that one can go to: pressing them goes there."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from rlhf_console.tui.widgets.targets import Target, labels


class Letters(Static):
    """The name of one place."""

    DEFAULT_CSS = """
    Letters {
        position: absolute; width: auto; height: 1;
        background: $warning; color: $background; text-style: bold;
        &:ansi { background: ansi_yellow; color: ansi_black; }
    }
    """

    def __init__(self, name: str, target: Target) -> None:
        super().__init__(name, markup=False)
        self.letters, self.target = name, target
        self.styles.offset = target.place


class JumpScreen(ModalScreen[Target]):
    """The chosen place; None: stay."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Close", id="close")]

    def __init__(self, targets: list[Target]) -> None:
        super().__init__()
        self._targets = targets
        self._typed = ""

    def compose(self) -> ComposeResult:
        for name, target in zip(labels(len(self._targets)), self._targets, strict=True):
            yield Letters(name, target)

    def on_key(self, event: events.Key) -> None:
        typed = self._typed + event.key
        left = [each for each in self.query(Letters) if each.letters.startswith(typed)]
        if not left:
            return
        event.stop()
        self._typed = typed
        if left[0].letters == typed:
            self.dismiss(left[0].target)
        for each in self.query(Letters):
            each.display = each in left

    def on_click(self, event: events.Click) -> None:
        self.dismiss(event.widget.target if isinstance(event.widget, Letters) else None)
