"""The rows of a form: what can be run, every option with its value, the memory it would need, what a check found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from rlhf_console.render import number
from rlhf_console.runs.launching import DEFAULT, Choice, Entry
from rlhf_console.tui.drawing.cells import Row, fit, join, spread, text_cells, wrap
from rlhf_sdk.spec import CheckRow

CHECK_LOOKS: dict[Literal["ok", "warn", "fail", "skipped"], tuple[str, str]] = {
    "ok": ("✓ ok", "good"),
    "warn": ("! warn", "warn"),
    "fail": ("✗ fail", "alarm"),
    "skipped": ("- skipped", "dim"),
}
STATE, NAME, FIGURE = 10, 34, 10
ONLY_CHANGED = "*"


def choice_row(choice: Choice, width: int) -> Row:
    """A plugin that can't be used has its cause."""
    said = text_cells(f"✗ {choice.problem}", "alarm") if choice.problem else text_cells(choice.about, "dim")
    return fit(join([text_cells(choice.plugin, "bold"), text_cells(choice.profile), said]), width)


def entry_row(entry: Entry, width: int) -> Row:
    """What differs from the profile has a star, and what it was."""
    mark = text_cells(f"{ONLY_CHANGED} " if entry.changed else "  ", "accent")
    style = "accent" if entry.changed else "dim" if entry.origin == DEFAULT else ""
    key = fit(text_cells(entry.key, style), width // 2)
    was = text_cells(f"was {plain(entry.before)}" if entry.changed else "", "dim")
    return spread(
        mark + key + join([text_cells(plain(entry.value), style), was]), text_cells(entry.origin, "dim"), width
    )


def shown_entries(entries: Sequence[Entry], words: str) -> list[Entry]:
    """Those whose key has all the words; * stands for what was changed."""

    def fits(entry: Entry, word: str) -> bool:
        return entry.changed if word == ONLY_CHANGED else word in entry.key

    return [entry for entry in entries if all(fits(entry, word) for word in words.lower().split())]


def check_row_rows(row: CheckRow, width: int) -> list[Row]:
    """One row; below it what the figure is and what to do, where it is not ok."""
    label, style = CHECK_LOOKS[row.state]
    shown = "" if row.figure is None else number(row.figure)
    line = fit(text_cells(label, style), STATE) + fit(text_cells(row.name, "bold"), NAME)
    line += text_cells(f"{shown:>{FIGURE}}  ") + text_cells(row.tolerance, "dim")
    if row.state == "ok":
        return [fit(line, width)]
    said = "; ".join(part for part in (row.meaning, row.advice and f"first look at: {row.advice}") if part)
    return [fit(line, width), *(text_cells(" " * STATE + text, "dim") for text in wrap(said, width - STATE))]


def plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read(text: str) -> Any:
    """JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
