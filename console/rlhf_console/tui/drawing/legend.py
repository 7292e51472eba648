"""The values of a chart's lines, in its heading."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlhf_console.headlines import shortest_names
from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, join, text_cells
from rlhf_console.tui.drawing.lines import Line, marker, series_style

VALUE_WIDTH, BAND_WIDTH = 7, 13
ROUNDING = 1e-12
NOT_FINITE = ("NaN", "∞", "-∞")


def legend(lines: Sequence[Line], cursor: float | None) -> Row:
    """The newest values, or those at the crosshair."""
    names = shortest_names([line.name for line in lines]) if len(lines) > 1 else [""] * len(lines)
    shown = [name if line.short is None else line.short for line, name in zip(lines, names, strict=True)]
    return join([_entry(line, name, cursor) for line, name in zip(lines, shown, strict=True)])


def _entry(line: Line, name: str, cursor: float | None) -> Row:
    text = value_text(line, cursor)
    width = VALUE_WIDTH if line.band is None else BAND_WIDTH
    style = "alarm" if text.partition(" ")[0] in NOT_FINITE else "bold"
    head = text_cells(marker(line.look), series_style(line.look))
    return join([head, text_cells(name), text_cells(text.ljust(width), style)], gap=1)


def value_text(line: Line, cursor: float | None = None) -> str:
    """0.160±0.021 of a mean over runs, 0.160 n=1 where it is that of one alone."""
    index = len(line.values) - 1 if cursor is None else line.index_at(cursor)
    value = line.newest if cursor is None else line.values[index] if index >= 0 else None
    if value is None:
        return "-"
    if line.band is None or index < 0:
        return figure(value)
    if line.band.counts[index] == 1:
        return f"{figure(value)} n=1"
    half = (line.band.high[index] - line.band.low[index]) / 2
    if not math.isfinite(half):
        return figure(value)
    return f"{figure(value)}±{half if half > ROUNDING * abs(value) else 0.0:.2g}"
