"""A live chart of some metrics over steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual import events
from textual.message import Message

from rlhf_console.tui.drawing.lines import Line
from rlhf_console.tui.drawing.plot import Frame, Plot
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.targets import Target
from rlhf_sdk.spec import Panel

CLOSER = 0.8


class MetricChart(Cells):
    """Braille lines that never move what is drawn already; NaN and infinities are gaps with a red mark below."""

    DEFAULT_CSS = "MetricChart { width: 1fr; height: 1fr; }"

    class Chosen(Message):
        """The chart was clicked, `times` in a row, at a place of the x axis or beside the lines."""

        def __init__(self, panel: Panel, times: int = 1, place: float | None = None) -> None:
            super().__init__()
            self.panel, self.times, self.place = panel, times, place

    class Wheeled(Message):
        """The mouse wheel was turned: `factor` below 1 is closer, around a place of the x axis."""

        def __init__(self, place: float, factor: float) -> None:
            super().__init__()
            self.place, self.factor = place, factor

    def __init__(self) -> None:
        super().__init__()
        self.panel = Panel("", [])
        self._plot = Plot("")
        self._lines: Sequence[Line] = ()
        self._frame = Frame()

    def follow(self, panel: Panel, lines: Sequence[Line], frame: Frame) -> None:
        """Shows `lines` under the heading of `panel`."""
        if panel != self.panel:
            self.panel, self._plot = panel, Plot(panel.title, panel.unit)
        self._lines, self._frame = lines, frame
        self._draw()

    def on_resize(self) -> None:
        self._draw()
        self.refresh()

    def _draw(self) -> None:
        width, height = self.size
        self.show(self._plot.rows(self._lines, self._frame, width, height))

    def on_click(self, event: events.Click) -> None:
        place = self._plot.place_at(event.x, self.size.width) if event.y else None
        self.post_message(self.Chosen(self.panel, event.chain, place))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, CLOSER)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 1 / CLOSER)

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        event.stop()
        place = self._plot.place_at(event.x, self.size.width)
        if place is not None:
            self.post_message(self.Wheeled(place, factor))

    def targets(self) -> Iterator[Target]:
        yield Target(self.content_region.offset, lambda: self.post_message(self.Chosen(self.panel)))
