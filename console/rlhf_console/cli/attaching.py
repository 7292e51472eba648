"""The verb that opens the full screen on a run: attach."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from rlhf_console.cli.options import RunsOption
from rlhf_console.runs.attaching import run_to_attach
from rlhf_console.runs.store import find
from rlhf_sdk.run_root import run_root


def attach(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="Id, unique beginning, name, or latest; else the newest at work.")
    ] = "",
    runs: RunsOption = "",
    readonly: Annotated[bool, typer.Option("--readonly", help="Watch only: nothing can be asked of a run.")] = False,
) -> None:
    """Open the full screen on a run; without a capable terminal, watch it in plain lines. Leaving changes nothing."""
    root = run_root(runs)
    attached = (find(root, run) if run else run_to_attach(root)).record.id
    # The full screen knows nothing of this command line, nor this of it: a process of its own, in place of this one.
    command = [sys.executable, "-P", "-m", "rlhf_console.tui.main", attached, "--runs", str(root)]
    os.execv(sys.executable, [*command, *(["--readonly"] if readonly else [])])
