"""The verb that goes on with runs: resume."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer

from rlhf_console.cli.config_options import DetachOption
from rlhf_console.cli.launcher_options import LauncherOption, LauncherSettings, brings_together, chosen_launcher
from rlhf_console.cli.options import (
    CheckpointEveryOption,
    JsonOption,
    ManyRuns,
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
    with_patience,
    with_ranks,
)
from rlhf_console.cli.start import watch_or_announce
from rlhf_console.durations import attempt_options
from rlhf_console.printable import printable
from rlhf_console.runs.store import LiveRun, find
from rlhf_sdk import launch
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.launching import placing
from rlhf_sdk.run_root import run_root
from rlhf_sdk.trainer import UserError


def resume(
    run: ManyRuns,
    runs: RunsOption = "",
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
    as_json: JsonOption = False,
) -> None:
    """Go on with a run that is paused, was stopped or died, from its newest good checkpoint, and watch it.

    Several runs are told to go on, and not watched. A launcher places a run again that it had placed before.
    """
    notify_at(notify)
    asked = with_patience(attempt_options(max_time, checkpoint_every), restarts, rank_timeout)

    def go_on(live: LiveRun) -> None:
        choice = chosen_launcher(launcher, launcher_options or [], placing.choice_of(live.directory))
        options = with_ranks(asked, live.record.plugin, nproc, nnodes, rdzv, meet=not brings_together(choice))
        launch.resume(live.directory, options, choice=choice)

    found = [find(run_root(runs), name) for name in run]
    if len(found) > 1:
        _resume_all(found, go_on, as_json=as_json)
        return
    go_on(found[0])
    watch_or_announce(runs, found[0], detach=detach, as_json=as_json)


def _resume_all(found: Sequence[LiveRun], go_on: Callable[[LiveRun], None], *, as_json: bool) -> None:
    """Exit code 2 where one can't go on; the others do."""
    resumed, problems = [], []
    for run in found:
        try:
            go_on(run)
            resumed.append(run.record.id)
        except UserError as error:
            problems.append(str(error))
    for problem in problems:
        print(f"rlhf: {printable(problem)}", file=sys.stderr)
    if as_json:
        print_json([{"run": run_id} for run_id in resumed])
    else:
        typer.echo("\n".join(resumed))
    if problems:
        raise typer.Exit(ExitCode.USER_ERROR)
