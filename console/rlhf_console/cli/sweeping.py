"""`rlhf sweep`: many runs, and a table over them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from msgspec import structs

from rlhf_console import plugins
from rlhf_console.cli.config_options import DetachOption, FromOption, NameOption, PluginArgument, ProfileOption
from rlhf_console.cli.launcher_options import LauncherOption, LauncherSettings, chosen_launcher
from rlhf_console.cli.options import (
    CheckpointEveryOption,
    JsonOption,
    MaxTimeOption,
    NotifyOption,
    RunsOption,
    notify_at,
    print_json,
)
from rlhf_console.cli.rank_options import ProcessesOption, check_ranked
from rlhf_console.cli.start import start_request, watch_or_announce
from rlhf_console.durations import attempt_options
from rlhf_console.plan_text import peak_of
from rlhf_console.printable import printable
from rlhf_console.profiles import PIPELINE
from rlhf_console.render import size, table
from rlhf_console.sweeping import Sweep, resolve_sweep
from rlhf_sdk.launching.contract import LOCAL
from rlhf_sdk.run_root import run_root
from rlhf_sdk.slots import AUTO, slot_count
from rlhf_sdk.trainer import UserError

GridOption = Annotated[
    list[str] | None,
    typer.Option("--grid", help="STAGE.KEY=VALUE,VALUE such as ppo.kl_coef=0.02,0.1; repeatable: all combinations."),
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="Runs of each point: the seeds plus 0, 1, 2...")]
SlotsOption = Annotated[
    str, typer.Option("--slots", metavar="N|auto", help="Runs at a time; auto: as many as the GPUs have room for.")
]


def sweep(
    plugin: PluginArgument,
    profile: ProfileOption = "",
    grid: GridOption = None,
    seeds: SeedsOption = 1,
    slots: SlotsOption = "auto",
    nproc: ProcessesOption = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="STAGE.KEY=VALUE, such as ppo.gamma=0.95, for all; repeatable.")
    ] = None,
    from_runs: FromOption = None,
    name: NameOption = "sweep",
    runs: RunsOption = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="A sanity light that fails ends the cell: checkpoint, exit code 4.")
    ] = False,
    notify: NotifyOption = "",
    max_time: MaxTimeOption = "",
    checkpoint_every: CheckpointEveryOption = "",
    launcher: LauncherOption = "",
    launcher_options: LauncherSettings = None,
    detach: DetachOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells, and the memory and cost expected.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a run for each point of a grid and each seed, and show means with intervals, and reward against KL.

    A cell that fails is tried once more, then reported; the others go on. `rlhf resume` does what is left. With
    --launcher the cells are placed elsewhere, as one array where the launcher has them.
    """
    root = run_root(runs)
    notify_at(notify)
    options = structs.replace(attempt_options(max_time, checkpoint_every), stage_processes=nproc)
    if nproc > 1:
        check_ranked(plugin, nproc)
    wanted = parse_slots(slots)
    choice = chosen_launcher(launcher, launcher_options or [])
    asked = resolve_sweep(plugin, profile, grid or [], seeds, wanted, settings or [], from_runs or [], root)
    asked = replace(asked, choice=choice)
    request = asked.request()
    if dry_run:
        slots_there = slot_count(wanted, nproc) if choice == LOCAL else wanted or len(asked.cells)
        _print_cells(asked, slots_there, root, as_json=as_json)
        return
    started = start_request(request, runs, name, strict=strict, options=options)
    watch_or_announce(runs, started, detach=detach, as_json=as_json)


def parse_slots(text: str) -> int:
    """How many runs at a time. Raises `UserError`."""
    if text == "auto":
        return AUTO
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise UserError(f"--slots {text!r}: a number from 1 on, or auto")
    return int(text)


def _print_cells(sweep: Sweep, slots: int, root: Path, *, as_json: bool) -> None:
    """Which cells there would be, how many runs, and what one of each point needs."""
    points = {cell.row: cell for cell in reversed(sweep.cells)}
    cost = {row: plugins.cost(sweep.plugin, cell.config) for row, cell in points.items()}
    memory, problem = _memory(sweep, root)
    if as_json:
        listed = {cell.name: {"row": cell.row, "config": cell.config} for cell in sweep.cells}
        print_json({"cells": listed, "slots": slots, "peak_bytes": memory, "problem": problem, "cost": cost})
        return
    typer.echo(table(["cell", "point"], [[cell.name, cell.row] for cell in sweep.cells]))
    stages = len(sweep.cells[0].config["stages"]) if sweep.plugin == PIPELINE else 1
    each = f" of {stages} stages each" if stages > 1 else ""
    typer.echo(f"\n{len(sweep.cells)} runs{each}, {slots} at a time")
    if memory:
        typer.echo(f"Memory expected: {size(memory)} for each of those at a time, at most")
    for row, sentences in cost.items():
        for sentence in sentences:
            typer.echo(printable(f"Cost of each run with {row}: {sentence}"))
    if problem:
        typer.echo(f"no memory plan: {printable(problem)}", err=True)


def _memory(sweep: Sweep, root: Path) -> tuple[int, str]:
    """The largest peak in bytes of any point, 0 where the plugin has no plan; or why it can't be known."""
    try:
        plans = [
            plugins.plan(sweep.plugin, cell.config, root) for cell in {cell.row: cell for cell in sweep.cells}.values()
        ]
    except UserError as error:
        return 0, str(error)
    return max((peak_of(rows)["bytes"] for rows in plans if rows), default=0), ""
