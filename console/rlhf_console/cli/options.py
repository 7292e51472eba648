"""Options that several verbs share, and how data goes to stdout."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer

from rlhf_console.printable import printable_json
from rlhf_sdk.non_finite import spell_non_finite
from rlhf_sdk.notify import ENVIRONMENT, check_address, masked

RunsOption = Annotated[str, typer.Option("--runs", help="Folder that holds runs; else $RLHF_RUNS, else ./runs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id, unique beginning, name, or latest.")]
ManyRuns = Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, unique beginnings, names, or latest.")]
MaxTimeOption = Annotated[
    str,
    typer.Option(
        "--max-time",
        metavar="TIME",
        help="After 90s, 30m, 2h or 1h30m: checkpoint and end as requeued, exit code 75. Of this attempt alone.",
    ),
]
CheckpointEveryOption = Annotated[
    str,
    typer.Option(
        "--checkpoint-every",
        metavar="STEPS|TIME",
        help="Checkpoint every so many steps, or after the step in which 10m (say) are over; instead of the config's.",
    ),
]

NotifyOption = Annotated[
    str,
    typer.Option(
        "--notify",
        metavar="URL",
        help="Tell this webhook of ends and alerts; else $RLHF_NOTIFY. Not kept: give it again at resume.",
    ),
]


def notify_at(address: str) -> None:
    """From now on the runs that this process starts tell `address`, else what $RLHF_NOTIFY has.

    The environment passes it on, so that no file keeps it. Raises `UserError` if no message can be sent there.
    """
    wanted = address or os.environ.get(ENVIRONMENT, "")
    if wanted:
        os.environ[ENVIRONMENT] = check_address(wanted)
        print(f"telling {masked(wanted)}", file=sys.stderr)


def print_json(data: Any) -> None:
    """One JSON document on stdout; non-finite numbers as strings, characters that a terminal would not show escaped."""
    typer.echo(printable_json(json.dumps(spell_non_finite(data), indent=2, ensure_ascii=False)))
