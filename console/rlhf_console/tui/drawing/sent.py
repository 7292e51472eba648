"""Commands on their way, in one row."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_console.runs.sent_commands import SentCommand
from rlhf_console.tui.drawing.cells import Row, fit, join, text_cells

LOOKS = {
    "requested": ("…", "accent"),
    "accepted": ("…", "accent"),
    "done": ("✓", "good"),
    "refused": ("✗", "alarm"),
    "ignored": ("-", "warn"),
}


def sent_row(sent: Sequence[SentCommand], width: int) -> Row:
    """The newest first, as many as fit."""
    return fit(join([_cells(each) for each in sent], gap=3), width)


def _cells(sent: SentCommand) -> Row:
    glyph, style = LOOKS.get(sent.outcome, LOOKS["accepted"])
    way = {"requested": "requested", "accepted": "requested → accepted", "done": "requested → done"}
    said = way.get(sent.outcome, sent.outcome)
    return join([
        text_cells(f"{glyph} {sent.what}: {said}", style),
        text_cells(sent.message),
        text_cells(sent.run.id, "dim"),
    ], gap=1)  # fmt: skip
