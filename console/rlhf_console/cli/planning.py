"""The verb that says how much memory a run would need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from rlhf_console import plugins
from rlhf_console.cli.config_options import FromOption, PluginArgument, ProfileOption
from rlhf_console.cli.options import JsonOption, RunsOption, print_json
from rlhf_console.cli.rank_options import check_ranked
from rlhf_console.gpus import GIGA, Target, target_of
from rlhf_console.plan_text import peak_of, plan_text, side_by_side
from rlhf_console.planned import planned, stages_linked
from rlhf_console.profiles import PIPELINE
from rlhf_console.requests import RunRequest, resolve_request, schema_properties
from rlhf_sdk.planning import PlanRanks
from rlhf_sdk.run_root import run_root
from rlhf_sdk.trainer import UserError

LAYOUT = "layout"
NETWORK = 400.0
"""GB a second: eight adapters of 400 Gb a second, one a GPU, as in NVIDIA's DGX H100 (its data sheet)."""


def plan(
    plugin: PluginArgument,
    profile: ProfileOption = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="STAGE.KEY=VALUE, such as ppo.layout=adapters; repeatable.")
    ] = None,
    from_runs: FromOption = None,
    gpu: Annotated[
        str,
        typer.Option("--gpu", help="A size such as 80GB, or a GPU's name; else the GPU here, or this machine."),
    ] = "",
    processes: Annotated[
        int, typer.Option("--nproc", min=1, help="Processes that train together on a machine: plan one of them.")
    ] = 1,
    nodes: Annotated[int, typer.Option("--nnodes", min=1, help="Machines that train together.")] = 1,
    network: Annotated[
        float, typer.Option("--network", min=0.001, help="GB a second that a machine sends to the others.")
    ] = NETWORK,
    layouts: Annotated[bool, typer.Option("--layouts", help="All layouts of PPO's models side by side.")] = False,
    runs: RunsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say how much memory a run needs, in which phase, whether it fits, and what would save some. Loads nothing."""
    target = target_of(gpu)
    root = run_root(runs)
    request = resolve_request(plugin, profile, settings or [], from_runs or [], None, root)
    stages, ranks = stages_linked(request), _ranks(plugin, processes, nodes, network)
    if layouts:
        _print_layouts(request, stages, target, root, ranks, as_json=as_json)
        return
    plan = planned(request.plugin, request.config, stages, target, root, ranks)
    if as_json:
        print_json(_as_data(plan, target))
        return
    title = f"{plugin}, profile {profile}" if profile else plugin
    title += f", one of {ranks.size} ranks," if ranks.size > 1 else ""
    typer.echo(plan_text(title, plan, target))


def _as_data(plan: dict[str, Any], target: Target) -> dict[str, Any]:
    peak, device = peak_of(plan["rows"]), target.device
    spare = device.memory - peak["bytes"]
    about = {"name": target.name, "about": target.about} | msgspec.to_builtins(device)
    return plan | {"device": about, "peak": dict(peak), "fits": spare >= 0, "spare": spare}


def _ranks(plugin: str, processes: int, nodes: int, network: float) -> PlanRanks:
    """Raises `UserError` for a plugin that works in one process."""
    if processes * nodes > 1:
        check_ranked(plugin, processes * nodes)
    return PlanRanks(processes=processes, machines=nodes, network=network * GIGA)


def _print_layouts(
    request: RunRequest, stages: dict[str, Any], target: Target, root: Path, ranks: PlanRanks, *, as_json: bool
) -> None:
    plans = {
        name: planned(request.plugin, config, stages, target, root, ranks)["rows"]
        for name, config in _layouts_of(request).items()
    }
    if as_json:
        print_json({"layouts": plans})
    else:
        typer.echo(side_by_side(plans))


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
