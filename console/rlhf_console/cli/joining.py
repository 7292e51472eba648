"""`rlhf join`: another machine's part of a run."""

from __future__ import annotations

import os

import msgspec

from rlhf_console.cli.options import RunArgument, RunsOption
from rlhf_console.cli.rank_options import ProcessesOption
from rlhf_console.runs.store import find
from rlhf_sdk.ranked.starting import join_command, worker_environment
from rlhf_sdk.run_root import run_root
from rlhf_sdk.trainer import UserError


def join(
    run: RunArgument,
    runs: RunsOption = "",
    processes: ProcessesOption = 0,
) -> None:
    """Take part, from another machine, in a run that was started with --nnodes; its folder must be the same there.

    Ends when the run's attempt does, with torchrun's exit code. Signals are for the machine that started the run.
    """
    found = find(run_root(runs), run)
    status = found.directory.status()
    if status is None or status.options.nodes < 2:
        raise UserError(f"run {found.record.id} waits for no other machine: start it with --nnodes and --rdzv")
    options = msgspec.structs.replace(status.options, processes=processes or status.options.processes)
    command = join_command(found.directory.path.absolute(), status, options)
    # In its place: a signal to this process ends torchrun, and with it the ranks here.
    os.execvpe(command[0], command, worker_environment(options))
