"""What a sweep has found: a row for each point of the grid, and which of them are on the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_plugins.sweep.pareto import dominated_by
from rlhf_sdk.statistics import Estimate, estimate

GAINS = ("gold", "win_rate", "score")
"""What a figure is called that one wants much of: gold before win rates before scores."""
COST = "kl"

Figures = Mapping[str, float]
Estimates = dict[str, dict[str, Estimate]]


def findings(rows: Mapping[str, Sequence[str]], finished: Mapping[str, Figures]) -> dict[str, Any]:
    """A run's result: tables for people, and the same figures by row and name for programs.

    `rows`: point of the grid -> its cells; `finished`: what each finished cell reports.
    """
    estimates = {row: _estimates([finished[name] for name in names if name in finished]) for row, names in rows.items()}
    counts = {row: f"{sum(name in finished for name in names)}/{len(names)}" for row, names in rows.items()}
    tables = [_table(estimates, counts)]
    axes = axes_of(list(dict.fromkeys(name for found in estimates.values() for name in found)))
    data: dict[str, Any] = {"rows": {row: _as_data(found) for row, found in estimates.items()}}
    if axes is not None:
        points = {
            row: (found[axes[0]].mean, found[axes[1]].mean) for row, found in estimates.items() if {*axes} <= {*found}
        }
        beaten = dominated_by(points)
        tables.append(_front_table(axes, points, beaten))
        data |= {"gain": axes[0], "cost": axes[1], "front": [row for row in points if row not in beaten]}
    return {"tables": tables, **data}


def axes_of(names: Sequence[str]) -> tuple[str, str] | None:
    """Gain and cost of the Pareto view, both of the last stage that reports both; None where no figure is a KL."""
    for stage in reversed(list(dict.fromkeys(map(_stage, names)))):
        own = [name for name in names if _stage(name) == stage]
        costs = [
            name for name in own if name.removeprefix(stage).rpartition("/")[2].startswith(COST) or f"{COST}/" in name
        ]
        gains = [name for kind in GAINS for name in own if kind in name.removeprefix(stage)]
        if costs and gains:
            return gains[0], costs[0]
    return None


def _stage(name: str) -> str:
    stage, separator, _ = name.partition(": ")
    return stage + separator if separator else ""


def _estimates(reports: Sequence[Figures]) -> dict[str, Estimate]:
    names = dict.fromkeys(name for report in reports for name in report)
    return {name: estimate([report[name] for report in reports if name in report]) for name in names}


def _table(estimates: Estimates, counts: Mapping[str, str]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for found in estimates.values() for name in found))
    rows = [
        [row, counts[row], *(_text(found[name]) if name in found else "-" for name in names)]
        for row, found in estimates.items()
    ]
    title = "Mean over seeds, with the half width of its 95 % interval (Student's t)"
    return {"title": title, "columns": ["point", "finished", *names], "rows": rows}


def _front_table(
    axes: tuple[str, str], points: Mapping[str, tuple[float, float]], beaten: Mapping[str, str]
) -> dict[str, Any]:
    """By rising cost."""
    ordered = sorted(points, key=lambda row: points[row][1])
    rows = [
        [row, *map(_figure, points[row]), f"beaten by {beaten[row]}" if row in beaten else "on the front"]
        for row in ordered
    ]
    return {"title": f"Pareto: {axes[0]} against {axes[1]}, means", "columns": ["point", *axes, "front"], "rows": rows}


def _as_data(found: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: {"mean": value.mean, "half_width": value.half, "seeds": value.count} for name, value in found.items()}


def _text(value: Estimate) -> str:
    return _figure(value.mean) + (f" ± {value.half:.2g}" if value.half is not None else "")


def _figure(value: float) -> str:
    return f"{value:.4g}"
