"""Sanity lights as rows: those that fail first, what each measured, how it went, and what to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rlhf_console.runs.fold import RunSummary
from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, fit, join, text_cells, wrap
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
        later = "no sanity lights yet: they are judged after the first update"
        return [text_cells(later if summary.step == 0 else "the plugin has told no sanity lights", "dim")]
    heading = f"{'state':<{INDENT}}{'light':<{NAME}}{'figure':>{FIGURE}}{'threshold':>{FIGURE}}  turned, at step"
    rows = [fit(_first_of_all(summary), width), [], fit(text_cells(heading, "dim"), width)]
    for check in sorted(summary.checks.values(), key=lambda each: ORDER.index(each.status)):
        told = [each for each in summary.told_checks if each.name == check.name]
        rows.append(_light(check, told, width))
        if check.status != "ok":
            rows += [text_cells(" " * INDENT + line, "dim") for line in wrap(check.explanation, width - INDENT)]
    return rows


def _first_of_all(summary: RunSummary) -> Row:
    """How many there are of each, and which to look at first: of the worst the one that turned first."""
    counts = Counter(check.status for check in summary.checks.values())
    worst, *_ = present = [status for status in ORDER if counts[status]]
    said = join([text_cells(f"{LOOKS[status][0]} {counts[status]}", LOOKS[status][1]) for status in present])
    if worst == "ok":
        return said
    first = min((check for check in summary.checks.values() if check.status == worst), key=lambda check: check.step)
    return join([said, text_cells(f"look at {first.name} first: of these it turned first", "bold")])


def _light(check: Check, told: Sequence[Check], width: int) -> Row:
    label, style = LOOKS[check.status]
    row = fit(text_cells(label, style), INDENT) + fit(text_cells(check.name, "bold"), NAME)
    row += text_cells(f"{figure(check.figure):>{FIGURE}}{figure(check.tolerance):>{FIGURE}}  ")
    return fit(row + _history(told, width - len(row)), width)


def _history(told: Sequence[Check], room: int) -> Row:
    """Sign and step of each time that the light turned, as many of the newest as there is room for."""
    shown: Row = []
    for check in reversed(told):
        label, style = LOOKS[check.status]
        longer = join([text_cells(f"{label[0]}{check.step}", style), shown], gap=1)
        if len(longer) > room:
            break
        shown = longer
    return shown
