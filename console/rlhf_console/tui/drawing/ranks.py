"""The ranks of a run as rows: those that need a look first, the healthy ones in one line where there is no room."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_console.runs.ranks import COLUMNS, RankLine
from rlhf_console.tui.drawing.cells import GAP, Row, fit, text_cells

SHOWN = 12
LOOKS = {"slowest": "warn", "silent": "alarm", "failed": "alarm", "oom": "alarm"}
MARKS = {"slowest": "> slowest", "silent": "! silent"}


def rank_rows(lines: Sequence[RankLine], width: int) -> list[Row]:
    """A heading and at most `SHOWN` ranks; how many more there are, of which none needs a look."""
    if not lines:
        return []
    marked = sorted(lines, key=lambda line: not line.state)
    shown = sorted(marked[:SHOWN], key=lambda line: int(line.cells[0]))
    cells = [(MARKS.get(line.state, line.state), *line.cells) for line in shown]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(("", *COLUMNS))]
    rows = [fit(text_cells(_aligned(("", *COLUMNS), widths), "dim"), width)]
    for line, row in zip(shown, cells, strict=True):
        rows.append(fit(text_cells(_aligned(row, widths), LOOKS.get(line.state, "")), width))
    if len(lines) > SHOWN:
        rows.append(text_cells(f"and {len(lines) - SHOWN} more", "dim"))
    return [*rows, []]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True) if width)
    return (" " * GAP).join(shown).rstrip()
