"""The figures of a chart's lines as CSV, for the clipboard and the pager."""

from __future__ import annotations

import csv
import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from rlhf_console.printable import printable
from rlhf_console.scale import View
from rlhf_console.tui.drawing.axes import WORDS
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.lines import Line
from rlhf_sdk.non_finite import spell_non_finite
from rlhf_sdk.spec import Panel

MOST_ROWS = 1200
"""As many as a clipboard takes for sure."""


def figures_text(panel: Panel, lines: Sequence[Line], options: ChartOptions, *, most: int = MOST_ROWS) -> str:
    """What is in sight, a row for each value of each line; of each line its share of `most` at most, the newest."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([WORDS[options.axis].strip(), "line", panel.unit or "value", "low", "high", "runs"])
    shown = [line for line in lines if not line.faint]
    for line in shown:
        writer.writerows(list(_rows(line, options.view))[-(most // len(shown)) :])
    return text.getvalue()


def _rows(line: Line, view: View | None) -> Iterator[Sequence[object]]:
    count = min(len(line.xs), len(line.values))
    first = bisect_left(line.xs, view.first, 0, count) if view else 0
    last = bisect_right(line.xs, view.last, 0, count) if view else count
    for index in range(first, last):
        value = spell_non_finite(line.values[index])
        if line.band is None:
            yield line.xs[index], printable(line.name), value, "", "", 1
            continue
        alone = line.band.counts[index] == 1
        ends = ("", "") if alone else (spell_non_finite(line.band.low[index]), spell_non_finite(line.band.high[index]))
        yield line.xs[index], printable(line.name), value, *ends, line.band.counts[index]
