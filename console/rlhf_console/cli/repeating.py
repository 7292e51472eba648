"""Verbs that begin with a run that was: relaunch, fork."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rlhf_console.again import Again
from rlhf_console.cli.config_options import DetachOption
from rlhf_console.cli.launcher_options import LauncherOption, LauncherSettings, brings_together, chosen_launcher
from rlhf_console.cli.options import (
    CheckpointEveryOption,
    JsonOption,
    MaxTimeOption,
    NotifyOption,
    RunArgument,
    RunsOption,
    notify_at,
)
from rlhf_console.cli.rank_options import NodesOption, ProcessesOption, RendezvousOption, with_ranks
from rlhf_console.cli.start import begin, watch_or_announce
from rlhf_console.durations import attempt_options
from rlhf_console.requests import reused_runs
from rlhf_console.runs.store import LiveRun, find
from rlhf_sdk.launching import placing
from rlhf_sdk.launching.contract import Choice
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_root import run_root

Settings = Annotated[list[str] | None, typer.Option("--set", help="STAGE.KEY=VALUE: what shall differ; repeatable.")]


def relaunch(
    run: RunArgument,
    settings: Settings = None,
    from_runs: Annotated[
        list[str] | None, typer.Option("--from", help="STAGE=RUN: keep a finished stage of a pipeline; repeatable.")
    ] = None,
    runs: RunsOption = "",
    notify: NotifyOption = "",
    max_time: MaxTimeOption = "",
    checkpoint_every: CheckpointEveryOption = "",
    nproc: ProcessesOption = 0,
    nnodes: NodesOption = 0,
    rdzv: RendezvousOption = "",
    launcher: LauncherOption = "",
    launcher_options: LauncherSettings = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Start a new run with the config of one that was, from the beginning."""
    root = run_root(runs)
    again = Again(find(root, run).directory, reuse=reused_runs(from_runs or [], root))
    notify_at(notify)
    choice = chosen_launcher(launcher, launcher_options or [], placing.choice_of(again.run))
    options = attempt_options(max_time, checkpoint_every)
    options = with_ranks(options, again.run.record().plugin, nproc, nnodes, rdzv, meet=not brings_together(choice))
    started = _start(again, root, settings, options, choice)
    watch_or_announce(runs, started, detach=detach, as_json=as_json)


def fork(
    run: RunArgument,
    at: Annotated[str, typer.Option("--at", metavar="CHECKPOINT", help="Such as step-00000040; else the newest.")] = "",
    settings: Settings = None,
    model_only: Annotated[
        bool,
        typer.Option("--model-only", help="Begin anew, with the checkpoint's model alone."),
    ] = False,
    runs: RunsOption = "",
    notify: NotifyOption = "",
    max_time: MaxTimeOption = "",
    checkpoint_every: CheckpointEveryOption = "",
    nproc: ProcessesOption = 0,
    nnodes: NodesOption = 0,
    rdzv: RendezvousOption = "",
    launcher: LauncherOption = "",
    launcher_options: LauncherSettings = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Start a new run that goes on from a checkpoint of another one; the other stays as it is."""
    root = run_root(runs)
    again = Again(find(root, run).directory, "model" if model_only else "fork", at)
    notify_at(notify)
    choice = chosen_launcher(launcher, launcher_options or [], placing.choice_of(again.run))
    options = attempt_options(max_time, checkpoint_every)
    options = with_ranks(options, again.run.record().plugin, nproc, nnodes, rdzv, meet=not brings_together(choice))
    started = _start(again, root, settings, options, choice)
    watch_or_announce(runs, started, detach=detach, as_json=as_json)


def _start(again: Again, root: Path, settings: list[str] | None, options: AttemptOptions, choice: Choice) -> LiveRun:
    return begin(again.create(again.request(settings or []), root, sys.argv[1:]), again.options(options), choice)
