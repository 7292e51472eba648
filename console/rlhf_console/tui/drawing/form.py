"""The rows of a form: what can be run, and every option with its value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_console.runs.launching import DEFAULT, Choice, Entry
from rlhf_console.tui.drawing.cells import Row, fit, join, spread, text_cells

ALWAYS = "always"
"""The phase of a memory plan for what stays."""


def choice_row(choice: Choice, width: int) -> Row:
    """A plugin that can't be used has its cause."""
    problem = text_cells(f"✗ {choice.problem}" if choice.problem else "", "alarm")
    return fit(join([text_cells(choice.plugin, "bold"), text_cells(choice.profile, "dim"), problem]), width)


def entry_row(entry: Entry, width: int) -> Row:
    """What differs from the profile has a star."""
    mark = text_cells("* " if entry.changed else "  ", "accent")
    style = "accent" if entry.changed else "dim" if entry.origin == DEFAULT else ""
    key = fit(text_cells(entry.key, style), width // 2)
    return spread(mark + key + text_cells(plain(entry.value), style), text_cells(entry.origin, "dim"), width)


def plan_peak(rows: Sequence[Mapping[str, Any]]) -> int:
    """Bytes of what stays, and of the phase that needs most beside it."""
    phases: dict[str, int] = {}
    for row in rows:
        phases[row["phase"]] = phases.get(row["phase"], 0) + row["bytes"]
    return phases.pop(ALWAYS, 0) + max(phases.values(), default=0)


def plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read(text: str) -> Any:
    """JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
