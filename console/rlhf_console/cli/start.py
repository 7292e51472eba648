"""Verbs that start something: run, demo."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from rlhf_console import plugins
from rlhf_console.cli.config_options import (
    DetachOption,
    DryRunOption,
    FromOption,
    NameOption,
    PluginArgument,
    ProfileOption,
    SettingsOption,
    StrictOption,
)
from rlhf_console.cli.launcher_options import LauncherOption, LauncherSettings, brings_together, chosen_launcher
from rlhf_console.cli.options import (
    CheckpointEveryOption,
    JsonOption,
    MaxTimeOption,
    NotifyOption,
    RunsOption,
    notify_at,
    print_json,
)
from rlhf_console.cli.rank_options import (
    NodesOption,
    ProcessesOption,
    RankTimeoutOption,
    RendezvousOption,
    RestartsOption,
    refuse_idle_meeting,
    with_patience,
    with_ranks,
)
from rlhf_console.cli.watching import display, exit_code_of, follow
from rlhf_console.durations import attempt_options
from rlhf_console.printable import printable
from rlhf_console.profiles import PIPELINE, SWEEP, flatten
from rlhf_console.render import in_short, number, result, size, table
from rlhf_console.requests import RunRequest, data_setting, resolve_request
from rlhf_console.runs.store import LiveRun, children_of
from rlhf_sdk import launch
from rlhf_sdk.launching.contract import LOCAL, Choice
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import run_root
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

PASSED_ON = {
    signal.SIGINT: "stopping with a checkpoint; Ctrl-C again stops at once",
    signal.SIGTERM: "stopping with a checkpoint",
    signal.SIGUSR1: "checkpointing, to be run again",
    signal.SIGUSR2: "checkpointing",
}

NEXT_STEPS = """What next
  rlhf samples {run}.ppo             what the policy wrote, update by update
  rlhf-console                       the same runs, full screen
  rlhf demo --overoptimise           the same reward model, optimised too hard
  rlhf run pipeline --profile tldr-local   real posts, real human comparisons"""


def run(
    plugin: PluginArgument,
    profile: ProfileOption = "",
    settings: SettingsOption = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="Source to train on: preferences (votes), world, a file, a hub id; repeatable."),
    ] = None,
    from_runs: FromOption = None,
    name: NameOption = "",
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of every stage that has one.")] = None,
    runs: RunsOption = "",
    strict: StrictOption = False,
    notify: NotifyOption = "",
    max_time: MaxTimeOption = "",
    checkpoint_every: CheckpointEveryOption = "",
    nproc: ProcessesOption = 0,
    nnodes: NodesOption = 0,
    rdzv: RendezvousOption = "",
    restarts: RestartsOption = None,
    rank_timeout: RankTimeoutOption = "",
    launcher: LauncherOption = "",
    launcher_options: LauncherSettings = None,
    detach: DetachOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Start a run and watch it. Ctrl-C stops it with a checkpoint; twice, at once. A closed terminal stops nothing.

    One that a launcher places elsewhere is not watched: `rlhf attach` does.
    """
    root = run_root(runs)
    notify_at(notify)
    refuse_idle_meeting(nnodes, rdzv)
    choice = chosen_launcher(launcher, launcher_options or [])
    options = with_patience(attempt_options(max_time, checkpoint_every), restarts, rank_timeout)
    options = with_ranks(options, plugin, nproc, nnodes, rdzv, meet=not brings_together(choice))
    wanted = [*data_setting(plugin, data or []), *(settings or [])]
    request = resolve_request(plugin, profile, wanted, from_runs or [], seed, root)
    if dry_run:
        print_dry_run(request, root, ranks=options.ranks * max(options.stage_processes, 1), as_json=as_json)
        return
    started = start_request(request, runs, name, strict=strict, options=options, choice=choice)
    watch_or_announce(runs, started, detach=detach, as_json=as_json)


def watch_or_announce(runs: str, started: LiveRun, *, detach: bool, as_json: bool) -> None:
    """Watches the run to its end, prints its results and exits with its code; with `detach`, and of a run that a
    launcher has placed, says which it is."""
    if detach or started.directory.placement() is not None:
        _announce(started, as_json=as_json)
        return
    state = _attend(runs, started)
    _print_outcome(runs, started, state, as_json=as_json)
    raise typer.Exit(exit_code_of(started))


def start_request(
    request: RunRequest,
    runs: str,
    name: str,
    *,
    strict: bool = False,
    options: AttemptOptions = launch.NO_OPTIONS,
    choice: Choice = LOCAL,
) -> LiveRun:
    """The run, made and started, and its id told."""
    return begin(request.create(run_root(runs), name=name, argv=sys.argv[1:], strict=strict), options, choice)


def begin(directory: RunDir, options: AttemptOptions, choice: Choice) -> LiveRun:
    """Starts it, and tells its id and, where a launcher has placed it, its job."""
    job = launch.begin(directory, options, choice)
    told = f", {choice.launcher} job {printable(job)}" if job else ""
    print(f"run {directory.id}{told}", file=sys.stderr, flush=True)
    return LiveRun.open(directory)


def _announce(started: LiveRun, *, as_json: bool) -> None:
    if as_json:
        placed = started.directory.placement()
        job = {"launcher": placed.launcher, "job": placed.job} if placed else {}
        print_json({"run": started.record.id, "directory": str(started.directory.path), **job})
    else:
        typer.echo(started.record.id)


@contextmanager
def _signals_go_to(directory: RunDir) -> Iterator[None]:
    """Ctrl-C, and what schedulers send, reach the worker; a closed terminal (SIGHUP) ends this command alone."""

    def forward(number: int, frame: FrameType | None) -> None:
        print(PASSED_ON[signal.Signals(number)], file=sys.stderr, flush=True)
        with suppress(UserError):
            launch.send_signal(directory, signal.Signals(number))

    before = {number: signal.signal(number, forward) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _attend(runs: str, started: LiveRun) -> State:
    with _signals_go_to(started.directory), display() as shown:
        return follow(run_root(runs), started, shown)


def _results(runs: str, finished: LiveRun) -> dict[str, dict[str, Any]]:
    """Results by stage (by plugin for a single run, and a sweep, whose result is about its cells)."""
    own = finished.catch_up().summary.results
    if finished.record.plugin == SWEEP:
        return {SWEEP: own}
    found = {
        child.record.stage or child.record.id: child.catch_up().summary.results
        for child in children_of(run_root(runs), finished.record.id)
    }
    return found or {finished.record.plugin: own}


def _print_outcome(runs: str, finished: LiveRun, state: State, *, as_json: bool) -> None:
    results = _results(runs, finished)
    if as_json:
        print_json({"run": finished.record.id, "state": state, "reason": finished.summary.reason, "results": results})
        return
    if state is not State.FINISHED:
        print(f"run {finished.record.id} {state}: {printable(finished.summary.reason)}", file=sys.stderr)
    for stage, named in results.items():
        for name, data in named.items():
            typer.echo(f"{printable(stage)}: {result(name, data)}\n")
    if found := _found(runs, finished):
        typer.echo(in_short(found) + "\n")


def _found(runs: str, finished: LiveRun) -> list[str]:
    from rlhf_console.report.summary import findings

    stages = [stage.catch_up() for stage in children_of(run_root(runs), finished.record.id)]
    return findings([finished, *stages])


def print_dry_run(request: RunRequest, root: Path, *, ranks: int = 1, as_json: bool) -> None:
    """What the run would be: config, origins, memory (of one of its ranks) and cost."""
    rows, problem = _memory_plan(request, root, ranks)
    cost = plugins.cost(request.plugin, request.config)
    if as_json:
        plan = {"rows": rows, "problem": problem}
        print_json({"config": request.config, "provenance": request.provenance, "plan": plan, "cost": cost})
        return
    for key, value in flatten(request.config).items():
        shown = number(value) if not isinstance(value, str) else repr(value)
        typer.echo(printable(f"{key} = {shown}  # {request.provenance.get(key, '')}"))
    if rows:
        typer.echo("\nMemory expected")
        typer.echo(table(["phase", "what", "bytes"], [[row["phase"], row["what"], size(row["bytes"])] for row in rows]))
    if cost:
        typer.echo("\nCost expected")
        typer.echo("\n".join(map(printable, cost)))
    if problem:
        print(f"no memory plan: {printable(problem)}", file=sys.stderr)


def _memory_plan(request: RunRequest, root: Path, ranks: int) -> tuple[list[dict[str, Any]], str]:
    """Rows of the memory that the run would need, or why they can't be known."""
    try:
        return plugins.plan(request.plugin, request.config, root, ranks), ""
    except UserError as error:
        return [], str(error)


def demo(
    overoptimise: Annotated[
        bool, typer.Option("--overoptimise", help="kl_coef 0.1 beside 0 at a higher learning rate: hacking, seen.")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of every stage.")] = None,
    runs: RunsOption = "",
    notify: NotifyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Train SFT, reward model and PPO on the built-in task in a few minutes, and show whether PPO is better."""
    notify_at(notify)
    profile = "demo-overoptimise" if overoptimise else "demo"
    request = resolve_request(PIPELINE, profile, [], [], seed, run_root(runs))
    started = start_request(request, runs, profile)
    state = _attend(runs, started)
    _print_outcome(runs, started, state, as_json=as_json)
    if state is State.FINISHED and not as_json and not overoptimise:
        typer.echo(_first_update(runs, started))
        typer.echo(NEXT_STEPS.format(run=started.record.id))
    raise typer.Exit(exit_code_of(started))


def _first_update(runs: str, finished: LiveRun) -> str:
    """The checks that the runs made of themselves."""
    lines = []
    for child in children_of(run_root(runs), finished.record.id):
        for check in child.catch_up().summary.checks.values():
            figures = f"{number(check.figure)} (tolerance {number(check.tolerance)})"
            lines.append(f"  {check.status:<5} {printable(check.name)}: {figures}")
    return "\n".join(["Checks", *lines, ""])
