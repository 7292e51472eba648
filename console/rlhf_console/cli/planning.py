"""The verb that says how much memory a run would need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from rlhf_console import plugins
from rlhf_console.cli.options import JsonOption, RunsOption, print_json
from rlhf_console.profiles import PIPELINE
from rlhf_console.render import size, table
from rlhf_console.requests import RunRequest, resolve_request, schema_properties
from rlhf_sdk.run_root import run_root
from rlhf_sdk.trainer import UserError

LAYOUT = "layout"
PEAK = "peak"
Rows = list[dict[str, Any]]


def plan(
    plugin: Annotated[str, typer.Argument(help="A plugin's name, or pipeline; see `rlhf plugins`.")],
    profile: Annotated[str, typer.Option("--profile", "-p", help="Profile name or TOML file.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="STAGE.KEY=VALUE, such as ppo.layout=adapters; repeatable.")
    ] = None,
    from_runs: Annotated[
        list[str] | None, typer.Option("--from", help="STAGE=RUN: use a finished run for a stage; repeatable.")
    ] = None,
    layouts: Annotated[bool, typer.Option("--layouts", help="All layouts of PPO's models side by side.")] = False,
    runs: RunsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print the memory that a run would need, by phase, without loading anything."""
    request = resolve_request(plugin, profile, settings or [], from_runs or [], None, run_root(runs))
    variants = _layouts_of(request) if layouts else {"bytes": request.config}
    plans = {name: _rows(request.plugin, config) for name, config in variants.items()}
    if as_json:
        print_json({"layouts": plans} if layouts else {"rows": plans["bytes"]})
        return
    typer.echo(_side_by_side(plans))


def _rows(plugin: str, config: dict[str, Any]) -> Rows:
    rows = plugins.plan(plugin, config)
    if not rows:
        raise UserError(f"plugin {plugin!r} has no memory plan")
    return rows


def _layouts_of(request: RunRequest) -> dict[str, dict[str, Any]]:
    """The config with each layout that the plugin, or a stage's plugin, allows."""
    allowed = {name: _allowed_layouts(stage.plugin) for name, (stage, _) in request.stages.items()}
    names = list(dict.fromkeys(layout for layouts in allowed.values() for layout in layouts))
    if not names:
        raise UserError(f"--layouts: {', '.join(allowed)} has no key {LAYOUT!r}; ppo has")
    return {layout: _with_layout(request, layout, allowed) for layout in names}


def _allowed_layouts(plugin: str) -> list[str]:
    layouts: list[str] = schema_properties(plugins.describe(plugin)["schema"]).get(LAYOUT, {}).get("enum", [])
    return layouts


def _with_layout(request: RunRequest, layout: str, allowed: Mapping[str, list[str]]) -> dict[str, Any]:
    if request.plugin != PIPELINE:
        return request.config | {LAYOUT: layout}
    stages = {
        name: stage | {"config": stage["config"] | {LAYOUT: layout}} if layout in allowed.get(name, []) else stage
        for name, stage in request.config["stages"].items()
    }
    return request.config | {"stages": stages}


def _side_by_side(plans: Mapping[str, Rows]) -> str:
    """A table with one column for each plan, phases together, peaks last."""
    places = dict.fromkeys((row["phase"], row["what"]) for rows in plans.values() for row in rows)
    cells = [{(row["phase"], row["what"]): row["bytes"] for row in rows} for rows in plans.values()]
    order = list(dict.fromkeys(phase for phase, _ in places))
    lines = [
        [phase, what, *(size(column[phase, what]) if (phase, what) in column else "-" for column in cells)]
        for phase, what in sorted(places, key=lambda place: order.index(place[0]))
        if what != PEAK
    ]
    peaks = [next(row for row in rows if row["what"] == PEAK) for rows in plans.values()]
    lines.append([PEAK, "", *(f"{size(row['bytes'])} ({row['phase']})" for row in peaks)])
    return table(["phase", "what", *plans], lines)


VERBS: dict[str, Callable[..., None]] = {"plan": plan}
