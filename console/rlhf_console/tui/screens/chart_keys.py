"""The keys that say how charts are drawn: smoothing, scale, axis, zoom, pan, crosshair."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.fold import RunSummary
from rlhf_console.runs.glance import NOTHING_KNOWN
from rlhf_console.scale import View as Stretch
from rlhf_console.scale import live_view
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.places import axes_of, newest_place, place_of, step_at
from rlhf_console.tui.screens.view import View
from rlhf_console.tui.widgets.chart import MetricChart


class ChartKeys(View, can_focus=True):
    """A subclass draws the charts of `run` with `options`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "smooth", "Smooth", id="smooth"),
        Binding("l", "log", "Log", show=False, id="log"),
        Binding("w", "axis", "X axis", show=False, id="x-axis"),
        Binding("m", "seeds", "Mean over seeds, or each", show=False, id="seeds"),
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in", show=False, id="zoom-in"),
        Binding("minus", "zoom(2.0)", "Zoom out", show=False, id="zoom-out"),
        Binding("comma", "pan(-0.25)", "Pan left", show=False, id="pan-left"),
        Binding("full_stop", "pan(0.25)", "Pan right", show=False, id="pan-right"),
        Binding("0", "follow", "Follow what comes", show=False, id="follow"),
        Binding("shift+left", "point(-1)", "Crosshair left", show=False, id="crosshair-left"),
        Binding("shift+right", "point(1)", "Crosshair right", show=False, id="crosshair-right"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.run: OpenRun | None = None
        self.options = ChartOptions()

    def draw(self) -> None:
        raise NotImplementedError

    @property
    def summary(self) -> RunSummary:
        """What the x axis and the steps are told by."""
        return self.run.live.summary if self.run is not None else NOTHING_KNOWN

    def draw_with(self, options: ChartOptions) -> None:
        self.options = options
        self.draw()

    @property
    def step(self) -> int | None:
        """The step at the crosshair; None without one."""
        if self.run is None or self.options.cursor is None:
            return None
        return step_at(self.options.cursor, self.options.axis, self.summary)

    def go_to(self, step: int) -> None:
        """Moves the crosshair to a step, and what is in sight with it."""
        if self.run is None:
            return
        options = replace(self.options, cursor=place_of(step, self.options.axis, self.summary))
        self.draw_with(options.around_cursor(self._extent()[0]))

    @property
    def total(self) -> int:
        """Length of the x axis; 0 where it is not known."""
        return self.summary.total_steps if self.options.axis == "step" else 0

    def _extent(self) -> tuple[Stretch, float]:
        """The whole of what there is to see, and its newest place."""
        newest = newest_place(self.options.axis, self.summary)
        return live_view(newest, self.total), newest

    def action_smooth(self) -> None:
        self.draw_with(self.options.with_next_smoothing())

    def action_log(self) -> None:
        self.draw_with(replace(self.options, log=not self.options.log))

    def action_axis(self) -> None:
        if self.run is not None:
            self.draw_with(self.options.with_next_axis(axes_of(self.summary)))

    def action_zoom(self, factor: float) -> None:
        self.draw_with(self.options.zoomed(*self._extent(), factor))

    def action_pan(self, share: float) -> None:
        self.draw_with(self.options.panned(self._extent()[0], share))

    def action_seeds(self) -> None:
        self.draw_with(replace(self.options, turned=not self.options.turned))

    def action_follow(self) -> None:
        self.draw_with(replace(self.options, view=None, cursor=None))

    @on(MetricChart.Chosen)
    def _point_at(self, message: MetricChart.Chosen) -> None:
        """A click sets the crosshair."""
        if message.place is not None:
            self.draw_with(replace(self.options, cursor=round(message.place)))

    @on(MetricChart.Wheeled)
    def _zoom_at(self, message: MetricChart.Wheeled) -> None:
        zoomed = replace(self.options, cursor=message.place).zoomed(*self._extent(), message.factor)
        self.draw_with(replace(zoomed, cursor=self.options.cursor))

    def action_point(self, by: int) -> None:
        self.draw_with(self.options.pointed(*self._extent(), by))
