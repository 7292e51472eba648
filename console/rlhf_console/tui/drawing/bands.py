"""Bands around lines: a sparse field of dots below everything else, in another place of the cell for each look."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rlhf_console.scale import Scale, View
from rlhf_console.tui.drawing.canvas import Canvas, dot_row
from rlhf_console.tui.drawing.columns import Columns
from rlhf_console.tui.drawing.lines import Line, series_style

PLACES = ((0, 1), (1, 3), (1, 1), (0, 3), (0, 0), (1, 2))
"""The one dot of 2 x 4 that a look's field has."""

MARGIN = 1.0
"""How far beyond the lines the y axis goes for the sake of bands, in spans of the lines: two seeds know very little."""


class BandColumns:
    """The ends of a line's band in `width` columns of a view."""

    def __init__(self, view: View, width: int, *, log: bool) -> None:
        self.low, self.high = (Columns(view, width, log=log) for _ in range(2))

    def follow(self, line: Line) -> None:
        if line.band is not None:
            self.low.follow(line.xs, line.band.low, line.revision)
            self.high.follow(line.xs, line.band.high, line.revision)

    def ends(self, x: int) -> tuple[float, float] | None:
        """Lower and upper end at a column; a lower one that has no logarithm is far below."""
        if x not in self.high.extents:
            return None
        low = self.low.extents.get(x)
        return (low.low if low is not None else -math.inf), self.high.extents[x].high


def with_bands(low: float, high: float, bands: Iterable[BandColumns]) -> tuple[float, float]:
    """The range of the lines, `low` to `high`, widened for the bands, as far as these may."""
    span = (high - low) * MARGIN
    least, greatest = low, high
    for band in bands:
        if band.low.range is not None:
            least = min(least, max(band.low.range[0], low - span) if span else band.low.range[0])
        if band.high.range is not None:
            greatest = max(greatest, min(band.high.range[1], high + span) if span else band.high.range[1])
    return least, greatest


def draw_band(canvas: Canvas, band: BandColumns, scale: Scale, look: int) -> None:
    """Between the columns that have values it goes straight."""
    before: tuple[int, int, int] | None = None
    for x in sorted(band.high.extents):
        ends = band.ends(x)
        if ends is None:
            continue
        bottom, top = dot_row(ends[0], scale, canvas), dot_row(ends[1], scale, canvas)
        joined = before is not None and band.high.extents[x].joined
        start = before if joined and before is not None else (x, bottom, top)
        for at in range(start[0], x + 1):
            share = (at - start[0]) / (x - start[0]) if x > start[0] else 1.0
            rows = round(start[2] + (top - start[2]) * share), round(start[1] + (bottom - start[1]) * share)
            _shade(canvas, at, *rows, look)
        before = x, bottom, top


def _shade(canvas: Canvas, x: int, top: int, bottom: int, look: int) -> None:
    across, down = PLACES[look % len(PLACES)]
    if x % 2 == across:
        for y in range(top + (down - top) % 4, bottom + 1, 4):
            canvas.shade(x, y, series_style(look))
