"""Memory over time: an area stacked by kind, a band of the phases at work below it, and what their signs mean."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from rlhf_console.render import size
from rlhf_console.runs.timeline import KINDS, Span
from rlhf_console.scale import Scale, View, tick_texts, value_scale
from rlhf_console.tui.drawing.axes import AXIS, value_axis, x_axis
from rlhf_console.tui.drawing.cells import Cell, Row, fit, join, text_cells
from rlhf_console.tui.drawing.chart_options import ChartOptions

GLYPHS = dict(zip(KINDS, "█▓▒░┄╱·", strict=True))
STYLES = dict(zip(KINDS, ("series-0", "series-1", "series-2", "series-3", "dim", "series-4", "faint"), strict=True))
LIMIT = "▔"
GIB = 2**30
LEGEND_ROWS = 3
BLANK: Cell = (" ", "")
SMALLEST = AXIS + 8


def timeline_rows(
    spans: Sequence[Span], began: float, view: View, limit: int | None, width: int, height: int
) -> list[Row]:
    """`height` rows of area, then the band, the axis and both legends.

    `view` is in seconds after `began`; `limit` is drawn where it is near enough to be in sight. No rows where there is
    no room beside the labels.
    """
    if width < SMALLEST:
        return []
    letters = phase_letters(span.phase for span in spans if span.phase)
    columns = _columns(spans, began, view, width - AXIS)
    highest = max((span.bytes for span in columns if span is not None), default=0)
    top = limit if limit is not None and limit <= 1.5 * highest else highest
    scale = value_scale(0.0, top / GIB, max(2, min(5, height // 2)))
    area = [_area_row(y, columns, scale, height) for y in range(height)]
    if limit is not None and limit / GIB <= scale.high:
        _draw_limit(area, height - 1 - int(scale.share(limit / GIB) * (height - 1)))
    labels = {_row_of(tick, scale, height): text for tick, text in zip(scale.ticks, tick_texts(scale), strict=True)}
    band = text_cells("phase".rjust(AXIS - 2) + "  ", "dim") + [_band_cell(span, letters) for span in columns]
    axis = x_axis(view, width, ChartOptions(axis="wall"), [], [])
    rows = [value_axis(labels.get(y)) + row for y, row in enumerate(area)]
    return [*rows, band, axis, *_phase_legend(letters, width)]


def kind_legend(kinds: Sequence[int], width: int) -> list[Row]:
    """Sign, name and bytes of each kind that there is."""
    parts = [
        text_cells(GLYPHS[kind] * 2, STYLES[kind]) + text_cells(f" {kind} ") + text_cells(size(count), "bold")
        for kind, count in zip(KINDS, kinds, strict=True)
        if count
    ]
    return flow(parts, width)


def flow(parts: Iterable[Row], width: int) -> list[Row]:
    """As many rows as the parts need side by side."""
    rows: list[Row] = []
    for part in parts:
        longer = join([rows[-1], part]) if rows else part
        if rows and len(longer) <= width:
            rows[-1] = longer
        else:
            rows.append(part)
    return [fit(row, width) for row in rows]


def phase_letters(phases: Iterable[str]) -> dict[str, str]:
    """A capital for each phase: of its name's letters the first that no other has, else a figure."""
    found: dict[str, str] = {}
    for phase in dict.fromkeys(phases):
        wanted = [*(each.upper() for each in phase if each.isalpha() and each.isascii()), *"0123456789"]
        found[phase] = next((letter for letter in wanted if letter not in found.values()), "?")
    return found


def _columns(spans: Sequence[Span], began: float, view: View, width: int) -> list[Span | None]:
    """For each column the highest of the spans that have a part in it, of equals the longest."""
    columns: list[Span | None] = [None] * width
    seconds = (view.last - view.first) / width
    first = bisect_left(spans, began + view.first, key=lambda span: span.end)
    for span in spans[first:]:
        left, right = (int((moment - began - view.first) / seconds) for moment in (span.start, span.end))
        if left >= width:
            break
        for column in range(max(left, 0), min(right, width - 1) + 1):
            there = columns[column]
            if there is None or _rank(span) > _rank(there):
                columns[column] = span
    return columns


def _rank(span: Span) -> tuple[int, float]:
    return span.bytes, span.end - span.start


def _area_row(y: int, columns: Sequence[Span | None], scale: Scale, height: int) -> Row:
    level = (height - y - 0.5) / height * scale.high * GIB
    return [_cell_at(span, level) if span is not None else BLANK for span in columns]


def _cell_at(span: Span, level: float) -> Cell:
    """What the column consists of at `level` bytes from the ground."""
    total = 0
    for kind, count in zip(KINDS, span.kinds, strict=True):
        total += count
        if level < total:
            return GLYPHS[kind], STYLES[kind]
    return BLANK


def _row_of(gib: float, scale: Scale, height: int) -> int:
    return min(max(height - 1 - int(gib / scale.high * height), 0), height - 1)


def _draw_limit(area: list[Row], y: int) -> None:
    area[y] = [(LIMIT, "alarm") if cell == BLANK else cell for cell in area[y]]


def _band_cell(span: Span | None, letters: Mapping[str, str]) -> Cell:
    if span is None or not span.phase:
        return BLANK
    return letters[span.phase], _phase_style(span.phase, letters)


def _phase_style(phase: str, letters: Mapping[str, str]) -> str:
    return f"series-{list(letters).index(phase) % 6}"


def _phase_legend(letters: Mapping[str, str], width: int) -> list[Row]:
    parts = [
        text_cells(letter, _phase_style(phase, letters)) + text_cells(f" {phase}", "dim")
        for phase, letter in letters.items()
    ]
    return flow(parts, width)
