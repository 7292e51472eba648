"""A launcher asked from outside: its code runs in a process of its own; what is wrong with it is an error in words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rlhf_sdk.launching.contract import SUBMIT_SECONDS, Choice, Job, JobState
from rlhf_sdk.launching.finding import find_launcher
from rlhf_sdk.scrubbing import own_scrubber, secret_places
from rlhf_sdk.trainer import UserError

ANSWER_SECONDS = 30.0


def describe_launcher(name: str) -> dict[str, Any]:
    """Summary, options in words, `arrays`, `meets`. Raises `UserError` for one that is unknown or broken."""
    return _ask(name, "describe", {})


def chosen(name: str, options: Mapping[str, Any]) -> Choice:
    """The launcher with its options complete. Raises `UserError` naming the option that is wrong, or holds a
    key or password."""
    for key, shown in secret_places(dict(options)):
        raise UserError(f"{key} = {shown!r} holds a key or password, which job.json would keep")
    answer = _ask(name, "validate", {"options": dict(options)})
    return Choice(launcher=name, options=answer["options"])


def submit(choice: Choice, jobs: Sequence[Job], at_most: int) -> list[str]:
    """Raises `UserError` where the scheduler refuses, or the launcher is broken."""
    asked = {"options": choice.options, "jobs": msgspec.to_builtins(jobs), "at_most": at_most}
    names = list[str](_ask(choice.launcher, "submit", asked, seconds=SUBMIT_SECONDS)["names"])
    if len(names) != len(jobs):
        raise UserError(f"launcher {choice.launcher!r} is broken: {len(names)} names for {len(jobs)} jobs")
    return names


def states(choice: Choice, names: Sequence[str]) -> list[JobState]:
    """In the order of `names`; "unknown", with why, where the launcher can't tell."""
    try:
        answer = _ask(choice.launcher, "states", {"options": choice.options, "names": list(names)})
        found = msgspec.convert(answer["states"], list[JobState])
    except (UserError, msgspec.ValidationError, LookupError) as error:
        return [JobState(state="unknown", detail=str(error)) for _ in names]
    return found if len(found) == len(names) else [JobState(state="unknown") for _ in names]


def cancel(choice: Choice, name: str) -> None:
    """Raises `UserError` where the scheduler refuses."""
    _ask(choice.launcher, "cancel", {"options": choice.options, "name": name})


def _ask(name: str, action: str, asked: dict[str, Any], *, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
    find_launcher(name)
    command = [sys.executable, "-P", "-m", "rlhf_sdk.launching.answering", name, action]
    try:
        done = subprocess.run(
            command, input=json.dumps(asked).encode(), capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"launcher {name!r}: no answer to `{action}` within {seconds:.0f} s") from None
    try:
        answer = msgspec.json.decode((done.stdout.splitlines() or [b""])[-1], type=dict[str, Any])
    except msgspec.DecodeError:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing on stderr"])[-1]
        raise UserError(f"launcher {name!r} is broken: `{action}` ended with {done.returncode}: {last}") from None
    if "error" in answer:
        raise UserError(own_scrubber().text(str(answer["error"]["message"])))
    return answer
