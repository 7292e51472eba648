"""A chart's figures as CSV: one row for each value of each metric of each run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from rlhf_console.printable import printable
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.derived import Derived, by_step
from rlhf_console.tui.drawing.run_panels import RunLines
from rlhf_sdk.non_finite import spell_non_finite
from rlhf_sdk.spec import Panel

HEADING = ("run", "metric", "unit", "step", "time", "value", "smoothed")


def csv_of(panel: Panel, runs: Sequence[RunLines], options: ChartOptions) -> bytes:
    """Everything there is, whatever is in sight; `time` in Unix seconds, `smoothed` empty where it is not."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADING)
    for lines in runs:
        for metric in panel.metrics:
            writer.writerows(_rows(lines, metric, panel, options))
    return text.getvalue().encode()


def _rows(lines: RunLines, metric: str, panel: Panel, options: ChartOptions) -> Iterator[Sequence[object]]:
    series, unit = lines.series(metric), lines.unit(metric)
    if series is None:
        return
    smooth = Derived(by_step, options.smoothing, unit=unit)
    smooth.follow(series)
    about = (lines.run.live.record.id, printable(metric), printable(panel.unit))
    for index, average in enumerate(smooth.values):
        value = spell_non_finite(series.values[index] / unit)
        shown = spell_non_finite(average) if options.smoothing else ""
        yield *about, series.steps[index], series.times[index], value, shown
