"""All keys that work where one is, from the same table that makes them work."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen

from rlhf_console.tui.drawing.cells import Row, fit, text_cells
from rlhf_console.tui.widgets.row_view import Page

KEY = 18
NAMES = {
    "plus": "+", "minus": "-", "comma": ",", "full_stop": ".", "slash": "/", "space": "space", "escape": "esc",
    "left_square_bracket": "[", "right_square_bracket": "]", "question_mark": "?", "equals_sign": "=",
    "up": "↑", "down": "↓", "left": "←", "right": "→", "enter": "⏎",
}  # fmt: skip


def key_table(screen: Screen[Any]) -> list[tuple[str, str]]:
    """(keys, what they do) of every binding that is active on `screen`, keys of one action together."""
    keys: dict[str, list[str]] = {}
    for active in screen.active_bindings.values():
        if active.enabled and active.binding.description:
            keys.setdefault(active.binding.description, []).append(shown_key(active.binding.key))
    return [(" ".join(dict.fromkeys(names)), what) for what, names in keys.items()]


def shown_key(key: str) -> str:
    head, plus, last = key.rpartition("+")
    return f"{head}{plus}{NAMES.get(last, last)}" if last else key


class KeysScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "Close", id="close")]
    CSS = """
    KeysScreen { align: center middle; }
    KeysScreen Vertical { width: 60; max-width: 96%; height: 80%; padding: 0 1; border: round $primary; }
    """

    def __init__(self, keys: list[tuple[str, str]]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Page()

    def on_mount(self) -> None:
        self.query_one(Page).show([_row(keys, what) for keys, what in self._keys])
        self.query_one(Page).focus()


def _row(keys: str, what: str) -> Row:
    return fit(text_cells(keys, "accent"), KEY) + text_cells(what)
