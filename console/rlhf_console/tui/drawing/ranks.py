"""The ranks of a run as rows: each where there is room, else hosts, and below them the ranks that need a look."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_console.runs.ranks import COLUMNS, HOST_COLUMNS, RankLine, host_lines, rank_lines
from rlhf_console.tui.drawing.cells import GAP, Row, fit, text_cells
from rlhf_sdk.ranked.reports import RankReport

SHOWN, SHOWN_HOSTS, SHOWN_RANKS = 12, 9, 4
"""Ranks one by one; else hosts, and of all their ranks the worst: together with what stands around them 24 rows."""

LOOKS = {"slowest": "warn", "silent": "alarm", "failed": "alarm", "oom": "alarm"}
MARKS = {"slowest": "> slowest", "silent": "! silent"}


def rank_rows(reports: Sequence[RankReport], width: int, now: float) -> list[Row]:
    """Headings and lines; `now` in Unix seconds. How many more there are, of which none needs a look before these."""
    ranks = rank_lines(reports, now)
    if len(ranks) <= SHOWN:
        return _table(COLUMNS, ranks, SHOWN, "ranks", width)
    worst = [line for line in ranks if line.state]
    hosts = _table(HOST_COLUMNS, host_lines(reports, now), SHOWN_HOSTS, "hosts", width)
    return [*hosts, *_table(COLUMNS, worst, SHOWN_RANKS, "ranks that need a look", width)]


def _table(columns: Sequence[str], lines: Sequence[RankLine], most: int, what: str, width: int) -> list[Row]:
    """Those that need a look before others, in their order; an empty row behind it."""
    if not lines:
        return []
    first = sorted(range(len(lines)), key=lambda place: (not lines[place].state, lines[place].state == "slowest"))
    shown = [lines[place] for place in sorted(first[:most])]
    cells = [(MARKS.get(line.state, line.state), *line.cells) for line in shown]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(("", *columns))]
    gap = GAP if sum(widths) + GAP * len(columns) <= width else 1
    rows = [fit(text_cells(_aligned(("", *columns), widths, gap), "dim"), width)]
    for line, row in zip(shown, cells, strict=True):
        rows.append(fit(text_cells(_aligned(row, widths, gap), LOOKS.get(line.state, "")), width))
    if len(lines) > most:
        rows.append(text_cells(f"and {len(lines) - most} more {what}", "dim"))
    return [*rows, []]


def _aligned(cells: Sequence[str], widths: Sequence[int], gap: int) -> str:
    shown = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True) if width)
    return (" " * gap).join(shown).rstrip()
