"""Figures as small pictures of one row: progress, memory, how a metric went."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlhf_console.runs.fold import RunSummary
from rlhf_console.runs.glance import MemoryUse
from rlhf_console.tui.drawing.cells import Row, text_cells

LEVELS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "×"
NEARLY_FULL = 0.9


def progress_bar(summary: RunSummary, width: int) -> Row:
    if not summary.total_steps:
        return []
    done = min(max(round(width * summary.step / summary.total_steps), 0), width)
    return text_cells("━" * done, "accent") + text_cells("─" * (width - done), "dim")


def memory_bar(use: MemoryUse | None, width: int) -> Row:
    """A bar and the share in use; with a sign where little is left."""
    if use is None or not use.total:
        return []
    share = min(use.used / use.total, 1.0)
    room = max(width - len("100%!"), 1)
    full = round(room * share)
    nearly = share >= NEARLY_FULL
    sign = "!" if nearly else " "
    return (
        text_cells("█" * full, "alarm" if nearly else "accent")
        + text_cells("░" * (room - full), "dim")
        + text_cells(f"{round(100 * share):>3}%{sign}", "alarm" if nearly else "")
    )


def sparkline(values: Sequence[float], width: int) -> Row:
    """The values between their lowest and highest, oldest first; where there are too many, the last of each group."""
    shown = [values[math.ceil((place + 1) * len(values) / width) - 1] for place in range(min(width, len(values)))]
    if len(values) <= width:
        shown = list(values)
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return text_cells(NOT_FINITE * len(shown), "alarm")
    low, span = min(finite), max(finite) - min(finite)
    row: Row = []
    for value in shown:
        if math.isfinite(value):
            level = round((value - low) / span * (len(LEVELS) - 1)) if span else 0
            row += text_cells(LEVELS[level], "series-0")
        else:
            row += text_cells(NOT_FINITE, "alarm")
    return row
