"""`rlhf join`: another machine's part of a run."""

from __future__ import annotations

import sys

import typer

from rlhf_console.cli.options import RunArgument, RunsOption
from rlhf_console.cli.rank_options import ProcessesOption
from rlhf_console.printable import printable
from rlhf_console.runs.store import find
from rlhf_sdk.run_root import run_root


def join(
    run: RunArgument,
    runs: RunsOption = "",
    processes: ProcessesOption = 0,
) -> None:
    """Take part, from another machine, in a run that was started with --nnodes; its folder must be the same there.

    Ends when the run does, with its exit code. Where the other machines are lost it tries again for as long as they
    wait, then ends with 75. Ctrl-C stops the run with a checkpoint; twice, it ends this machine's part alone.
    """
    from rlhf_sdk.ranked.joining import take_part

    directory = find(run_root(runs), run).directory
    raise typer.Exit(take_part(directory, processes, _tell))


def _tell(text: str) -> None:
    print(f"rlhf join: {printable(text)}", file=sys.stderr, flush=True)
