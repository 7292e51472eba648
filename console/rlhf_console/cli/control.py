"""Verbs that control runs at work, several at once: pause, checkpoint, stop, set, sample."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from rlhf_console.asked import Asked, wait_for_all
from rlhf_console.cli.options import JsonOption, ManyRuns, RunArgument, RunsOption, print_json
from rlhf_console.printable import printable
from rlhf_console.profiles import PIPELINE, parse_value
from rlhf_console.render import number, sample_text
from rlhf_console.runs.store import LiveRun, children_of, find
from rlhf_sdk.commands import Checkpoint, Pause, SampleNow, SetValue, Stop
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.run_root import run_root
from rlhf_sdk.states import LIVE, State
from rlhf_sdk.trainer import UserError

WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Return when it is done, or as soon as it is asked.")
]


def pause(
    run: ManyRuns,
    release: Annotated[
        bool, typer.Option("--release", help="Checkpoint and end instead, so that the device is free for others.")
    ] = False,
    runs: RunsOption = "",
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Hold runs where they are, within a second; `rlhf resume` goes on to the same bits."""
    asked = [Asked(found, Pause(release=release, sender="rlhf pause"), ends=release) for found in _find(runs, run)]
    _carry_out(asked, wait=wait, as_json=as_json)


def checkpoint(run: ManyRuns, runs: RunsOption = "", wait: WaitOption = True, as_json: JsonOption = False) -> None:
    """Write a checkpoint now and go on. Of a pipeline, the stage at work does."""
    asked = [Asked(_at_work(found, runs), Checkpoint(sender="rlhf checkpoint")) for found in _find(runs, run)]
    _carry_out(asked, wait=wait, as_json=as_json)


def stop(run: ManyRuns, runs: RunsOption = "", wait: WaitOption = True, as_json: JsonOption = False) -> None:
    """Checkpoint and stop runs; `rlhf resume` goes on from there."""
    asked = [Asked(found, Stop(sender="rlhf stop"), ends=True) for found in _find(runs, run)]
    _carry_out(asked, wait=wait, as_json=as_json)


def set_value(
    run: Annotated[list[str], typer.Argument(metavar="RUN... KEY=VALUE...", help="Runs, then what to set.")],
    runs: RunsOption = "",
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Change live values from the next step on, such as kl_coef=0.02; checkpoints and resumes keep them.

    `rlhf config PLUGIN` says which keys are live. Of a pipeline, the stage at work takes them.
    """
    names, settings = [text for text in run if "=" not in text], [text for text in run if "=" in text]
    if not names or not settings:
        raise UserError("expected runs and what to set, such as: rlhf set latest kl_coef=0.02")
    asked = []
    for found in _find(runs, names):
        for setting in settings:
            key, _, text = setting.partition("=")
            command = SetValue(key=key.strip(), value=parse_value(text.strip()), sender="rlhf set")
            asked.append(Asked(_at_work(found, runs), command))
    _carry_out(asked, wait=wait, as_json=as_json)


def sample(
    run: RunArgument,
    prompts: Annotated[
        list[str] | None, typer.Option("--prompt", help="What to respond to; repeatable. None: the run's own prompts.")
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option("--prompt-file", help="A text file that is one more prompt.", exists=True)
    ] = None,
    runs: RunsOption = "",
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Show what the policy writes now: after the step that it is in, or at once where the run is paused."""
    given = [*(prompts or []), *([prompt_file.read_text()] if prompt_file else [])]
    asked = Asked(_at_work(find(run_root(runs), run), runs), SampleNow(prompts=given, sender="rlhf sample"))
    _carry_out([asked], wait=wait, as_json=as_json)


def _find(runs: str, names: Sequence[str]) -> list[LiveRun]:
    """The runs called so, each once, before anything is asked of any. Raises `UserError` if one is unknown."""
    found = [find(run_root(runs), name) for name in names]
    return list({run.directory.path: run for run in found}.values())


def _at_work(run: LiveRun, runs: str) -> LiveRun:
    """The run, or the stage that a pipeline is at. Raises `UserError` if none of its stages is at work."""
    if run.record.plugin != PIPELINE or run.state not in LIVE | {State.STALLED}:
        return run
    stages = [stage for stage in children_of(run_root(runs), run.record.id) if stage.state in LIVE | {State.STALLED}]
    if not stages:
        raise UserError(f"no stage of {run.record.id} is at work just now")
    return stages[-1]


def _carry_out(asked: Sequence[Asked], *, wait: bool, as_json: bool) -> None:
    """Sends every command before it waits for any. Exit code 2 where one was refused."""
    for each in asked:
        each.send()
    if wait:
        wait_for_all(asked)
    if as_json:
        print_json([_as_data(each) for each in asked])
    else:
        for each in asked:
            _print(each, waited=wait)
    if any(each.failed for each in asked):
        raise typer.Exit(ExitCode.USER_ERROR)


def _as_data(asked: Asked) -> dict[str, Any]:
    data = {
        "run": asked.run.record.id,
        "command": asked.name,
        "id": asked.command.id,
        "outcome": asked.outcome or "asked",
        "message": asked.message,
        "details": asked.details,
        "state": asked.state,
    }
    if isinstance(asked.command, SampleNow):
        data["samples"] = [msgspec.to_builtins(sample) for sample in asked.samples()]
    return data


def _print(asked: Asked, *, waited: bool) -> None:
    """What was done goes to stdout, everything else to stderr."""
    run = asked.run.record.id
    if asked.outcome == "done":
        typer.echo(printable(_done(asked), keep_newlines=True))
    elif asked.asking is None:
        print(f"rlhf: {printable(asked.message)}", file=sys.stderr)
    elif asked.outcome:
        print(printable(f"{run}: {asked.name} {asked.outcome}: {asked.message}"), file=sys.stderr)
    elif not waited:
        print(f"asked {run} to {asked.name}", file=sys.stderr)


def _done(asked: Asked) -> str:
    run, details = asked.run.record.id, asked.details
    match asked.command:
        case Checkpoint():
            return f"{run} {details['checkpoint']}"
        case SetValue(key=key):
            return f"{run} {key} {number(details['previous'])} -> {number(details['value'])}"
        case SampleNow():
            return "\n\n".join(sample_text(sample) for sample in asked.samples())
        case _:
            return f"{run} {asked.state}"
