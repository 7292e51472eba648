"""The lines of a run's charts, with those of other runs over them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rlhf_console.runs.focus import OpenRun
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.plot import OVERLAY_LOOK, Line
from rlhf_console.tui.drawing.run_panels import RunLines
from rlhf_sdk.spec import Panel

WHEN = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}")
"""What stands behind the name in a run's id."""


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
        names = short_ids([other.run.live.record.id for other in self._others.values()])
        for name, (place, other) in zip(names, self._others.items(), strict=True):
            lines += other.of(panel, options, name=name, look=OVERLAY_LOOK + place)
        return lines


def short_ids(ids: Sequence[str]) -> list[str]:
    """Run ids without the time of their start, where that still tells them apart."""
    short = [WHEN.sub("", each) for each in ids]
    return [name if short.count(name) == 1 else each for name, each in zip(short, ids, strict=True)]
