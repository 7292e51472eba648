"""The lines of a run's charts, with those of other runs over them."""

from __future__ import annotations

from collections.abc import Mapping

from rlhf_console.runs.focus import OpenRun
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.plot import OVERLAY_LOOK, Line
from rlhf_console.tui.drawing.run_panels import RunLines
from rlhf_sdk.spec import Panel


class Overlaid:
    """Other runs by the place that their mark has, which gives each its look."""

    def __init__(self, run: OpenRun) -> None:
        self._own = RunLines(run)
        self._others: dict[int, RunLines] = {}

    def overlay(self, runs: Mapping[int, OpenRun]) -> None:
        """The run itself, which may be marked too, is left out."""
        known = {lines.run: lines for lines in self._others.values()}
        own = self._own.run.live.directory
        self._others = {
            place: known.get(run) or RunLines(run) for place, run in runs.items() if run.live.directory != own
        }

    @property
    def runs(self) -> list[RunLines]:
        return [self._own, *self._others.values()]

    def of(self, panel: Panel, options: ChartOptions) -> list[Line]:
        lines = self._own.of(panel, options)
        for place, other in self._others.items():
            lines += other.of(panel, options, name=other.run.live.record.id, look=OVERLAY_LOOK + place)
        return lines
