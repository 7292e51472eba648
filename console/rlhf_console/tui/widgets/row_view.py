"""Rows that scroll. Only those in sight are made, so that a million cost nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from rlhf_console.tui.drawing.cells import Row, plain_text
from rlhf_console.tui.widgets.cells import Styled

MOST_COPIED_ROWS = 1000


class RowView(Styled, ScrollView, inherit_bindings=False):
    """Scrolls over the rows that `row` makes."""

    DEFAULT_CSS = "RowView { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._drawn: dict[int, Row] = {}

    def row(self, index: int) -> Row:
        """The cells of one row; empty behind the last."""
        raise NotImplementedError

    @property
    def row_width(self) -> int:
        return self.scrollable_content_region.width

    def update(self, count: int) -> None:
        """There are `count` rows now; refreshes what differs from what stands there."""
        self.virtual_size = Size(self.row_width, count)
        top = self.scroll_offset.y
        in_sight = range(top, top + self.size.height)
        self._drawn = {index: row for index, row in self._drawn.items() if index in in_sight}
        for index in in_sight:
            before, after = self._drawn.get(index), self.row(index)
            if before != after:
                self.refresh_changes(index - top, before, after)

    def render_line(self, y: int) -> Strip:
        index = y + self.scroll_offset.y
        row = self._drawn[index] = self.row(index)
        return self.strip(row)

    def on_resize(self) -> None:
        self._drawn = {}


class Page(RowView, can_focus=True):
    """A text to scroll through."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "turn(-1)", "Scroll", key_display="↑↓"),
        Binding("k", "turn(-1)", show=False),
        Binding("down,j", "turn(1)", show=False),
        Binding("pageup", "turn(-10)", show=False),
        Binding("pagedown,space", "turn(10)", show=False),
        Binding("home", "scroll_home", show=False),
        Binding("end", "scroll_end", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: Sequence[Row] = ()

    def show(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.update(len(rows))

    def row(self, index: int) -> Row:
        return self._rows[index] if index < len(self._rows) else []

    def copied_text(self) -> str:
        """All of it, or what is in sight of a very long text."""
        count, top = self.virtual_size.height, self.scroll_offset.y
        rows = range(count) if count <= MOST_COPIED_ROWS else range(top, min(top + self.size.height, count))
        return "\n".join(plain_text(self.row(index)) for index in rows)

    def lines_of_text(self) -> Iterator[str]:
        return (plain_text(self.row(index)) for index in range(self.virtual_size.height))

    def action_turn(self, by: int) -> None:
        self.scroll_relative(y=by, animate=False)
