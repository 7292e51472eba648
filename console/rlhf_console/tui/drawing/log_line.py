"""A line of a log: what tells of trouble stands out, and what was looked for."""

from __future__ import annotations

from rlhf_console.runs.log_matches import Level, level_of
from rlhf_console.tui.drawing.cells import Row, fit, text_cells

STYLES: dict[Level, str] = {"all": "", "warning": "warn", "error": "alarm"}
NUMBER = 9


def log_row(line: str, words: str, width: int, number: int | None = None) -> Row:
    """`number` stands before it, counted from 1."""
    row = text_cells(f"{number + 1:>{NUMBER - 2}}  ", "dim") if number is not None else []
    return fit(row + _marked(line, words, STYLES[level_of(line)]), width)


def _marked(line: str, words: str, style: str) -> Row:
    place = line.lower().find(words.lower()) if words else -1
    if place < 0:
        return text_cells(line, style)
    end = place + len(words)
    return text_cells(line[:place], style) + text_cells(line[place:end], "chosen") + text_cells(line[end:], style)
