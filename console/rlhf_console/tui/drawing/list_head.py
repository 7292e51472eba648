"""The line above the list of runs: how many there are, how they are arranged, where they lie."""

from __future__ import annotations

from rlhf_console.runs.arranging import NEWEST, Arrangement
from rlhf_console.runs.index import RunIndex
from rlhf_console.tui.drawing.cells import Row, fit, join, text_cells
from rlhf_sdk.states import LIVE


def list_head(index: RunIndex, arranged: Arrangement, width: int, *, archive: str, readonly: bool) -> Row:
    """`archive`: what can be done with runs that were put away, where it is those; empty for others."""
    runs, bad = index.runs, len(index.unreadable)
    live = sum(run.state in LIVE for run in runs)
    what = text_cells(f"{len(runs)} runs, {live} at work") if runs else text_cells("no runs yet: try `rlhf demo`")
    if archive:
        what = text_cells(f"archive: {len(runs)} runs; {archive}", "warn")
    order = f"by {arranged.order}" if arranged.order != NEWEST else ""
    how = [f"/{arranged.words}" if arranged.words else "", order, "backwards" if arranged.backwards else ""]
    row = join([
        text_cells("rlhf-console", "title"), what, text_cells(f"{bad} unreadable" if bad else "", "warn"),
        text_cells(" ".join(filter(None, how)), "accent"), text_cells("read only" if readonly else "", "warn"),
        text_cells(str(index.root), "dim"),
    ])  # fmt: skip
    return fit(row, width)
