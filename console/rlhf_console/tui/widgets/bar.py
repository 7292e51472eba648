"""A row of names to choose from, with the keyboard or the mouse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from textual import events
from textual.geometry import Offset
from textual.message import Message

from rlhf_console.tui.drawing.cells import Row, join, spread
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.targets import Target

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
        for place, (start, end) in enumerate(self._extents()):
            if start <= event.x < end:
                self._choose(place)

    def targets(self) -> Iterator[Target]:
        for place, (start, _) in enumerate(self._extents()):
            yield Target(self.content_region.offset + Offset(start, 0), partial(self._choose, place))

    def _extents(self) -> Iterator[tuple[int, int]]:
        start = 0
        for part in self._parts:
            yield start, start + len(part)
            start += len(part) + self._gap

    def _choose(self, place: int) -> None:
        self.post_message(self.Chosen(self, place))
