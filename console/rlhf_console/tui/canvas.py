"""Braille charts as pure functions: series in, rows of characters with a series index for each cell out.

A cell is 2 x 4 dots. Every dot column shows the least and greatest value of its bucket; a bucket is a power of two of
steps, so that columns already drawn never move while a run grows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BLANK, NON_FINITE = -1, -2
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """The y range of a chart, with the values of its labels from bottom to top."""

    low: float
    high: float
    ticks: tuple[float, ...]


@dataclass(frozen=True)
class Cell:
    """One character and the series that it belongs to (`BLANK` for none, `NON_FINITE` for a NaN or infinity)."""

    character: str
    series: int


EMPTY = Cell(" ", BLANK)
NAN_MARK = Cell("╳", NON_FINITE)


def nice_step(span: float, count: int) -> float:
    """The smallest of 1, 2, 2.5, 5 x 10^n that covers `span` in at most `count` steps."""
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in NICE if step * power >= raw * (1 - 1e-9))


def nice_scale(low: float, high: float, labels: int = 4) -> Scale:
    """Round limits around the values, so that they change seldom while a run grows."""
    if high <= low:
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    step = nice_step(high - low, labels - 1)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Scale(first * step, last * step, tuple(index * step for index in range(first, last + 1)))


def bucket_size(steps: int, dot_columns: int) -> int:
    """Steps in one dot column: the least power of two that fits `steps` into the width."""
    size = 1
    while size * dot_columns < steps:
        size *= 2
    return size


def finite_range(series: Iterable[Sequence[float]]) -> tuple[float, float] | None:
    """Least and greatest finite value over all series; None where there is none."""
    values = [value for one in series for value in one if math.isfinite(value)]
    return (min(values), max(values)) if values else None


def buckets(steps: Sequence[int], values: Sequence[float], size: int) -> dict[int, tuple[float, float] | None]:
    """Dot column -> (least, greatest) finite value in it; None where it holds a NaN or infinity."""
    found: dict[int, tuple[float, float] | None] = {}
    for step, value in zip(steps, values, strict=True):
        column = max(step - 1, 0) // size
        if not math.isfinite(value):
            found[column] = None
        elif column not in found:
            found[column] = (value, value)
        elif (seen := found[column]) is not None:
            found[column] = (min(seen[0], value), max(seen[1], value))
    return found


def _dot_row(value: float, scale: Scale, dot_rows: int) -> int:
    share = (value - scale.low) / (scale.high - scale.low)
    return min(max(round((1.0 - share) * (dot_rows - 1)), 0), dot_rows - 1)


def draw(
    series: Sequence[tuple[Sequence[int], Sequence[float]]], *, width: int, height: int, total_steps: int, scale: Scale
) -> list[list[Cell]]:
    """`height` rows of `width` cells. A later series covers an earlier one where they share a cell.

    Few steps are spread over the width, joined by straight lines.
    """
    grid = [[EMPTY] * width for _ in range(height)]
    size = bucket_size(total_steps, width * 2)
    spread = (width * 2 - 1) / max(-(-total_steps // size) - 1, 1)
    for index, (steps, values) in enumerate(series):
        _draw_line(grid, buckets(steps, values, size), spread, index, scale)
    return grid


def _draw_line(
    grid: list[list[Cell]],
    columns: dict[int, tuple[float, float] | None],
    spread: float,
    index: int,
    scale: Scale,
) -> None:
    dot_columns, dot_rows = len(grid[0]) * 2, len(grid) * 4
    before: tuple[int, int, int] | None = None
    for bucket in sorted(columns):
        x = min(round(bucket * spread), dot_columns - 1)
        extremes = columns[bucket]
        if extremes is None:
            grid[0][x // 2] = NAN_MARK
            before = None
            continue
        bottom, top = (_dot_row(value, scale, dot_rows) for value in extremes)
        for y in range(top, bottom + 1):
            _set_dot(grid, x, y, index)
        if before is not None and before[0] == bucket - 1:
            _join(grid, (before[1], before[2]), (x, (top + bottom) // 2), index)
        before = (bucket, x, (top + bottom) // 2)


def _join(grid: list[list[Cell]], start: tuple[int, int], end: tuple[int, int], index: int) -> None:
    """The dots of a straight line between two dots."""
    (x0, y0), (x1, y1) = start, end
    count = max(abs(x1 - x0), abs(y1 - y0))
    for i in range(1, count):
        _set_dot(grid, round(x0 + (x1 - x0) * i / count), round(y0 + (y1 - y0) * i / count), index)


def _set_dot(grid: list[list[Cell]], column: int, dot: int, index: int) -> None:
    row, cell_column = grid[dot // 4], column // 2
    bit = DOTS[dot % 4][column % 2]
    cell = row[cell_column]
    known = ord(cell.character) - 0x2800 if cell.series == index else 0
    if cell.series != NON_FINITE:
        row[cell_column] = Cell(chr(0x2800 + (known | bit)), index)


def short_number(value: float) -> str:
    """At most seven characters: 0, 0.05, 1.5, 1200, 1.2e6."""
    if value == 0 or abs(value) < 1e-12:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    return f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
