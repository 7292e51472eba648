"""A live chart of some metrics over steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual import events
from textual.message import Message

from rlhf_console.tui.drawing.plot import Frame, Line, Plot
from rlhf_console.tui.widgets.cells import Cells
from rlhf_console.tui.widgets.targets import Target
from rlhf_sdk.spec import Panel


class MetricChart(Cells):
    """Braille lines that never move what is drawn already; NaN and infinities are gaps with a red mark below."""

    DEFAULT_CSS = "MetricChart { width: 1fr; height: 1fr; }"

    class Chosen(Message):
        """The chart was clicked, `times` in a row."""

        def __init__(self, panel: Panel, times: int) -> None:
            super().__init__()
            self.panel, self.times = panel, times

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
        self._choose(event.chain)

    def targets(self) -> Iterator[Target]:
        yield Target(self.content_region.offset, self._choose)

    def _choose(self, times: int = 1) -> None:
        self.post_message(self.Chosen(self.panel, times))
