"""The lines of runs that differ in their seeds alone: means with their 95 % bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlhf_console.runs.seed_mean import SeedMean
from rlhf_console.tui.drawing.chart_options import Axis, ChartOptions
from rlhf_console.tui.drawing.lines import Band, Line
from rlhf_console.tui.drawing.run_panels import RunLines
from rlhf_sdk.spec import Panel


class SeedLines:
    """Of some runs, each smoothed by itself where that is wanted; derived anew only where options have changed."""

    def __init__(self, runs: Sequence[RunLines]) -> None:
        self.runs = runs
        self._means: dict[tuple[str, Axis, float], SeedMean] = {}

    def of(
        self, panel: Panel, options: ChartOptions, *, name: str = "", look: int | None = None, short: str | None = None
    ) -> list[Line]:
        """As `RunLines.of`, with a band around each line where there are two values at least."""
        lines = []
        for place, metric in enumerate(panel.metrics):
            tracks = [track for run in self.runs if (track := run.track(metric, options)) is not None]
            if not tracks:
                continue
            mean = self._means.setdefault((metric, options.axis, options.smoothing), SeedMean())
            mean.follow(tracks)
            band = Band(mean.low, mean.high, mean.counts)
            newest = mean.means[-1] if mean.means else None
            line = Line(name or metric, mean.xs, mean.means, place if look is None else look, newest=newest)
            lines.append(replace(line, revision=mean.revision, band=band, short=short))
        return lines
