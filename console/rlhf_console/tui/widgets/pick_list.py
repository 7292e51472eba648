"""A list with a cursor."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset, Region
from textual.message import Message
from textual.strip import Strip

from rlhf_console.tui.drawing.cells import Row, plain_text
from rlhf_console.tui.widgets.row_view import RowView
from rlhf_console.tui.widgets.targets import Target

Item = TypeVar("Item")
CURSOR = Style(reverse=True)
FARTHEST = 1 << 30


class PickList(RowView, Generic[Item], can_focus=True):
    """Items as rows; the cursor stays on its item while others come and go.

    `draw` makes the row of an item in so many cells; `key` tells items apart; `text` is what is copied, else the row.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Choose", key_display="↑↓"),
        Binding("k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "turn(-1)", show=False),
        Binding("pagedown", "turn(1)", show=False),
        Binding("home", f"move(-{FARTHEST})", show=False),
        Binding("end", f"move({FARTHEST})", show=False),
        Binding("enter", "open", "Open", id="open"),
    ]

    class Moved(Message):
        """The cursor is on another item."""

        def __init__(self, source: PickList[Any]) -> None:
            super().__init__()
            self.source = source

        @property
        def control(self) -> PickList[Any]:
            return self.source

    class Opened(Message):
        """Enter, or a double click."""

        def __init__(self, source: PickList[Any]) -> None:
            super().__init__()
            self.source = source

        @property
        def control(self) -> PickList[Any]:
            return self.source

    def __init__(
        self,
        draw: Callable[[Item, int], Row],
        key: Callable[[Item], Hashable],
        *,
        opens: bool = False,
        text: Callable[[Item], str] | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._draw, self._key, self._opens, self._text = draw, key, opens, text
        self._items: Sequence[Item] = ()
        self.cursor = 0

    @property
    def item(self) -> Item | None:
        """What the cursor is on."""
        return self._items[self.cursor] if self._items else None

    @property
    def in_sight(self) -> Sequence[Item]:
        """Those on the screen now."""
        top = self.scroll_offset.y
        return self._items[top : top + self.size.height]

    @property
    def count(self) -> int:
        return len(self._items)

    def show(self, items: Sequence[Item], *, follow_first: bool = False) -> None:
        """Shows `items`; with `follow_first` a cursor at the top stays there, whatever comes."""
        before, current = self.cursor, self.item
        self._items = items
        if not (follow_first and self.cursor == 0):
            self.cursor = self._place_of(current)
        self.update(len(items))
        if self.cursor != before:
            self.refresh_line(before)
            self.refresh_line(self.cursor)
            self.scroll_relative(y=self.cursor - before, animate=False)

    def _place_of(self, item: Item | None) -> int:
        if item is None:
            return 0
        wanted = self._key(item)
        if self.cursor < len(self._items) and self._key(self._items[self.cursor]) == wanted:
            return self.cursor
        keys = [self._key(each) for each in self._items]
        return keys.index(wanted) if wanted in keys else min(self.cursor, max(len(self._items) - 1, 0))

    def row(self, index: int) -> Row:
        return self._draw(self._items[index], self.row_width) if index < len(self._items) else []

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        return strip.apply_style(CURSOR) if y + self.scroll_offset.y == self.cursor and self._items else strip

    def action_move(self, by: int) -> None:
        self.go(self.cursor + by)

    def action_turn(self, by: int) -> None:
        self.go(self.cursor + by * max(self.size.height - 1, 1))

    def go(self, index: int) -> None:
        """Moves the cursor to `index`, or as near as there are items."""
        index = min(max(index, 0), len(self._items) - 1)
        if index < 0 or index == self.cursor:
            return
        before, self.cursor = self.cursor, index
        self.refresh_line(before)
        self.refresh_line(index)
        self.scroll_to_region(Region(0, index, 1, 1), animate=False)
        self.post_message(self.Moved(self))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "open" or self._opens

    def action_open(self) -> None:
        if self._items and self._opens:
            self.post_message(self.Opened(self))

    def copied_text(self) -> str:
        item = self.item
        if item is None:
            return ""
        return self._text(item) if self._text else plain_text(self._draw(item, self.row_width))

    def lines_of_text(self) -> Iterator[str]:
        yield from self.copied_text().split("\n")

    def targets(self) -> Iterator[Target]:
        for index in range(self.scroll_offset.y, min(self.scroll_offset.y + self.size.height, len(self._items))):
            place = self.content_region.offset + Offset(0, index - self.scroll_offset.y)
            yield Target(place, partial(self._focus_on, index))

    def _focus_on(self, index: int) -> None:
        self.focus()
        self.go(index)

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if index < len(self._items):
            self.go(index)
            if event.chain > 1:
                self.action_open()
