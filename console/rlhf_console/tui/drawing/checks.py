"""Sanity lights as rows: those that fail first, what each measured, how it went, and what to look at."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_console.runs.fold import RunSummary
from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, fit, text_cells, wrap
from rlhf_sdk.events import Check, CheckStatus

LOOKS: dict[CheckStatus, tuple[str, str]] = {
    "ok": ("✓ ok", "good"),
    "warn": ("! warn", "warn"),
    "fail": ("✗ fail", "alarm"),
}
ORDER: tuple[CheckStatus, ...] = ("fail", "warn", "ok")
NAME, FIGURE = 28, 11
INDENT = 9


def check_rows(summary: RunSummary, width: int) -> list[Row]:
    """A heading, then each light; below one that is not ok its meaning and what to look at first."""
    if not summary.checks:
        return [text_cells("no sanity lights yet: they are judged after the first update", "dim")]
    heading = f"{'state':<{INDENT}}{'light':<{NAME}}{'figure':>{FIGURE}}{'threshold':>{FIGURE}}  since   changes"
    rows = [fit(text_cells(heading, "dim"), width)]
    for check in sorted(summary.checks.values(), key=lambda each: ORDER.index(each.status)):
        told = [each for each in summary.told_checks if each.name == check.name]
        rows.append(_light(check, told, width))
        if check.status != "ok":
            rows += [text_cells(" " * INDENT + line, "dim") for line in wrap(check.explanation, width - INDENT)]
    return rows


def _light(check: Check, told: Sequence[Check], width: int) -> Row:
    label, style = LOOKS[check.status]
    row = fit(text_cells(label, style), INDENT) + fit(text_cells(check.name, "bold"), NAME)
    row += text_cells(f"{figure(check.figure):>{FIGURE}}{figure(check.tolerance):>{FIGURE}}  ")
    row += fit(text_cells(f"step {check.step}", "dim"), 8) + _history(told)
    return fit(row, width)


def _history(told: Sequence[Check]) -> Row:
    """One glyph for each time that the light turned."""
    return [cell for check in told[-12:] for cell in text_cells(LOOKS[check.status][0][0], LOOKS[check.status][1])]
