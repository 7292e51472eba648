"""One of a few things, picked from a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from rlhf_console.printable import printable
from rlhf_console.tui.drawing.cells import Row, fit, text_cells
from rlhf_console.tui.widgets.pick_list import PickList

Item = TypeVar("Item")
MOST_ROWS = 14


class ChooseScreen(ModalScreen[Item], Generic[Item]):
    """`say` is what stands in the list for an item. None: nothing is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "leave", "Leave it", id="leave")]
    CSS = """
    ChooseScreen { align: center middle; }
    ChooseScreen Vertical { width: 76; max-width: 96%; height: auto; max-height: 90%; padding: 0 1; }
    ChooseScreen Vertical { border: round $primary; }
    """

    def __init__(self, question: str, items: Sequence[Item], say: Callable[[Item], str], *, at: int = 0) -> None:
        super().__init__()
        self._question, self._items, self._say, self._at = question, items, say, at

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(printable(self._question), markup=False)
            yield PickList(self._row, self._items.index, opens=True, id="items")

    def on_mount(self) -> None:
        items = self.query_one("#items", PickList)
        items.styles.height = min(len(self._items), MOST_ROWS)
        items.show(self._items)
        items.go(self._at)
        items.focus()

    def _row(self, item: Item, width: int) -> Row:
        return fit(text_cells(self._say(item)), width)

    @on(PickList.Opened)
    def _chosen(self, message: PickList.Opened) -> None:
        chosen: Any = message.source.item
        self.dismiss(chosen)

    def action_leave(self) -> None:
        self.dismiss(None)
