"""A point of a sweep's grid in the list of runs: how its seeds are doing, and their figures together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from rlhf_console.headlines import Declared, shortest_names
from rlhf_console.runs.seed_groups import SeedGroup
from rlhf_console.runs.sweep_tree import TOP, ListedPoint, Place
from rlhf_console.runs.sweeps import short_names
from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, fit, join, text_cells
from rlhf_console.tui.drawing.lines import marker, series_style
from rlhf_console.tui.drawing.run_rows import branch_cells, list_columns, mark_cells
from rlhf_console.tui.drawing.states import state_cells
from rlhf_sdk.statistics import Estimate, estimate


def point_row(
    listed: ListedPoint, declared: Declared, width: int, *, mark: int | None = None, place: Place = TOP
) -> Row:
    """In `width` cells; `mark` is the place of a point that is marked."""
    name = short_names(listed.sweep.points)[listed.point.name]
    parts = {
        "run": mark_cells(mark) + branch_cells(place) + text_cells(name, "bold"),
        "plugin": text_cells(declared_plugin(listed), "dim"),
        "state": state_cells(listed.state),
        "step": text_cells(f"{listed.finished}/{len(listed.point.cells)} seeds"),
    }
    row: Row = []
    for column in list_columns(width):
        if column.heading == "figures":
            return row + fit(figures_of(listed, declared, column.width), column.width)
        row += fit(fit(parts.get(column.heading, []), max(column.width - 1, 0)), column.width)
    return row


def declared_plugin(listed: ListedPoint) -> str:
    """What makes the runs whose figures are told."""
    told = listed.told
    return told[0].record.plugin if told else listed.point.plugin


def figures_of(listed: ListedPoint, declared: Declared, width: int) -> Row:
    """Of the headline's newest values over seeds the mean with half the width of its 95 % interval; as many as fit."""
    found = {name: _over_seeds(listed, name) for name in declared.headline}
    known = {name: value for name, value in found.items() if value is not None}
    row: Row = []
    for short, value in zip(shortest_names(list(known)), known.values(), strict=True):
        part = join([text_cells(short, "dim"), text_cells(estimate_text(value))], gap=1)
        row = longer if len(longer := join([row, part])) <= width else row
    return row


def _over_seeds(listed: ListedPoint, name: str) -> Estimate | None:
    values = [value for run in listed.told if (value := run.summary.latest(name)) is not None]
    return estimate(values) if values and all(map(math.isfinite, values)) else None


def estimate_text(value: Estimate) -> str:
    """0.160±0.021; of one seed the value alone."""
    return figure(value.mean) + (f"±{value.half:.2g}" if value.half is not None else "")


def about_point(listed: ListedPoint, width: int) -> Row:
    """The whole name, and how many of its seeds are in which state."""
    states = Counter(str(cell.state) for cell in listed.cells if cell.state is not None)
    waiting = len(listed.point.cells) - len(listed.cells)
    told = [*(f"{count} {state}" for state, count in states.items()), f"{waiting} to come" if waiting else ""]
    parts = [text_cells(listed.point.name, "bold"), text_cells(", ".join(filter(None, told)))]
    return fit(join([*parts, text_cells(f"of {listed.sweep.record.id}", "dim")]), width)


def points_row(by_look: Mapping[int, SeedGroup], count: int, width: int) -> Row:
    """The sign of each point that is drawn, and how many of its seeds there are; how many points are not drawn."""
    parts = [
        join([text_cells(marker(look), series_style(look)), text_cells(group.name), _seeds(group)], gap=1)
        for look, group in by_look.items()
    ]
    more = f"{count - len(by_look)} more points: mark those that are wanted" if count > len(by_look) else ""
    return fit(join([*parts, text_cells(more, "dim")]), width)


def _seeds(group: SeedGroup) -> Row:
    have = len(group.runs)
    return text_cells(f"n={have}" if have == group.wanted else f"n={have} of {group.wanted}", "dim")
