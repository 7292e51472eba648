"""Verbs that control a run at work: stop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from rlhf_console.cli.options import JsonOption, RunArgument, RunsOption, print_json
from rlhf_console.runs.store import find
from rlhf_sdk import launch
from rlhf_sdk.commands import Stop
from rlhf_sdk.run_root import run_root


def stop(
    run: RunArgument,
    runs: RunsOption = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return when the run has stopped.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Checkpoint and stop a run; `rlhf resume` goes on from there."""
    stopped = find(run_root(runs), run)
    launch.request(stopped.directory, Stop(sender="rlhf stop"))
    if not wait:
        print(f"asked {stopped.record.id} to stop", file=sys.stderr)
        return
    verdict = launch.wait(stopped.directory)
    if as_json:
        print_json({"run": stopped.record.id, "state": stopped.state, "reason": verdict.reason if verdict else ""})
    else:
        typer.echo(f"{stopped.record.id} {stopped.state}")


VERBS: dict[str, Callable[..., None]] = {"stop": stop}
