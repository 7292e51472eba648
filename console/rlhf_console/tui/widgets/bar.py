"""A row of names to choose from, with the keyboard or the mouse."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from rlhf_console.tui.drawing.cells import Row, join, spread
from rlhf_console.tui.widgets.cells import Cells

PART_GAP = 2


class Bar(Cells):
    """Parts side by side, and something at the right end."""

    DEFAULT_CSS = "Bar { height: 1; }"

    class Chosen(Message):
        """A part was clicked."""

        def __init__(self, bar: Bar, place: int) -> None:
            super().__init__()
            self.bar, self.place = bar, place

        @property
        def control(self) -> Bar:
            return self.bar

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts: Sequence[Row] = ()
        self._gap = PART_GAP

    def show_parts(self, parts: Sequence[Row], end: Row, width: int, gap: int = PART_GAP) -> None:
        self._parts, self._gap = parts, gap
        self.show([spread(join(list(parts), gap=gap), end, width)])

    def on_click(self, event: events.Click) -> None:
        start = 0
        for place, part in enumerate(self._parts):
            if start <= event.x < start + len(part):
                self.post_message(self.Chosen(self, place))
            start += len(part) + self._gap
