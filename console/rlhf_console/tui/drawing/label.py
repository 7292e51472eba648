"""Rows of the labeller: how far it is, the prompt, two responses whose origin is not told."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_console.render import duration, table
from rlhf_console.runs.labelling import Labelling
from rlhf_console.runs.vote_summary import Table
from rlhf_console.tui.drawing.cells import Row, fit, join, spread, text_cells, wrap
from rlhf_console.tui.drawing.comparison import BLIND_HEADS, beside

BAR = 20


def head_row(session: Labelling, width: int) -> Row:
    """Who votes, how many votes there are, and how fast."""
    done, total, pace = len(session.votes), session.total, session.pace()
    filled = BAR * done // max(total, 1)
    parts = [
        text_cells(f"{done} of {total}", "title"),
        text_cells("█" * filled, "good") + text_cells("·" * (BAR - filled), "dim"),
        text_cells(f"{session.skipped} skipped" if session.skipped else "", "dim"),
    ]
    if pace is not None and done < total:
        left = duration(60 * (total - done) / pace)
        parts.append(text_cells(f"{pace:.1f} a minute, {left} to go", "dim"))
    return spread(join(parts), text_cells(session.labeller, "dim"), width)


def prompt_rows(prompt: str, width: int) -> list[Row]:
    return [text_cells(line) for line in wrap(prompt, width)]


def heads_row(hidden: int, width: int) -> Row:
    """What stands below; `hidden`: rows of the prompt that are out of sight."""
    (row,) = beside(BLIND_HEADS, width, diff=False)
    more = text_cells(f"{hidden} more rows of the prompt: space", "dim") if hidden else []
    return spread([(text, "title") for text, _ in row], more, width) if width > 2 * len(more) else fit(row, width)


def response_rows(responses: Sequence[str], width: int, *, diff: bool) -> list[Row]:
    return beside(responses, width, diff=diff)


def told_row(told: str, note: str, width: int) -> Row:
    """What has become of the newest key, and the note that waits."""
    return fit(join([text_cells(told, "dim"), text_cells(f"note: {note}" if note else "", "accent")]), width)


def end_rows(session: Labelling, tables: Sequence[Table]) -> list[Row]:
    """Nothing is left to vote on: what the votes say."""
    said = f"no pair is left: {len(session.votes)} votes of {session.labeller}"
    skipped = f"; skipped: {session.skipped}, shown again in another session" if session.skipped else ""
    lines = [said + skipped, ""]
    for title, columns, rows in tables:
        lines += [title, *table(columns, rows).split("\n"), ""]
    return [text_cells(line) for line in lines]
