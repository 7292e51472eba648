"""All keys that work where one is, from the same table that makes them work."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen

from rlhf_console.tui.drawing.cells import Row, fit, text_cells
from rlhf_console.tui.keymap import shown_key
from rlhf_console.tui.widgets.row_view import Page

KEY, WHAT = 16, 26


def key_table(screen: Screen[Any]) -> list[tuple[str, str, str]]:
    """(keys, what they do, the id to give them others by) of every active binding, keys of one action together."""
    keys: dict[tuple[str, str], list[str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if active.enabled and binding.description:
            action = binding.description, "" if binding.system else binding.id or ""
            keys.setdefault(action, []).append(shown_key(binding.key))
    return [(" ".join(dict.fromkeys(names)), *action) for action, names in keys.items()]


def key_of(screen: Screen[Any], action: str) -> str:
    """The first key that the action of this id has on `screen`, as people read it; empty where none leads to it now."""
    bindings = (active.binding for active in screen.active_bindings.values())
    return next((shown_key(binding.key) for binding in bindings if binding.id == action), "")


def hint(screen: Screen[Any], action: str, what: str) -> str:
    """`what` with the key of an action in front; empty where no key leads to it now."""
    key = key_of(screen, action)
    return f"{key} {what}" if key else ""


class KeysScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "Close", id="close")]
    CSS = """
    KeysScreen { align: center middle; }
    KeysScreen Vertical { width: 60; max-width: 96%; height: 80%; padding: 0 1; border: round $primary; }
    """

    def __init__(self, keys: list[tuple[str, str, str]]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Page()

    def on_mount(self) -> None:
        self.query_one(Page).show([_row(*each) for each in self._keys])
        self.query_one(Page).focus()


def _row(keys: str, what: str, action: str) -> Row:
    return fit(text_cells(keys, "accent"), KEY) + fit(text_cells(what), WHAT) + text_cells(action, "dim")
