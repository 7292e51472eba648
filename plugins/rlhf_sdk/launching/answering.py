"""One question to a launcher, in a process of its own: `python -m rlhf_sdk.launching.answering NAME ACTION`.

Reads a JSON object from stdin and prints one: "describe" -> {"summary", "options", "arrays", "meets"}; "validate"
{"options"} -> {"options"} completed; "submit" {"options", "jobs", "at_most"} -> {"names"}; "states" {"options",
"names"} -> {"states"}; "cancel" {"options", "name"} -> {}. What is wrong comes as {"error": {"message"}} with exit code
2, or 3 if the launcher is broken.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec

from rlhf_sdk.config_errors import convert_config
from rlhf_sdk.config_types import options
from rlhf_sdk.describe import print_apart, sources
from rlhf_sdk.discovery import load_attribute
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.launching.contract import SUBMIT_SECONDS, Job, JobState, Launcher, LauncherSpec
from rlhf_sdk.launching.finding import load_launcher
from rlhf_sdk.trainer import UserError


def _describe(spec: LauncherSpec, asked: dict[str, Any]) -> dict[str, Any]:
    listed = msgspec.to_builtins(list(options(spec.options)))
    return {
        "summary": spec.summary,
        "options": listed,
        "arrays": spec.arrays,
        "meets": spec.meets,
        "sources": sources(),
    }


def _validate(spec: LauncherSpec, asked: dict[str, Any]) -> dict[str, Any]:
    return {"options": msgspec.to_builtins(convert_config(asked["options"], spec.options))}


def _submit(spec: LauncherSpec, asked: dict[str, Any]) -> dict[str, Any]:
    jobs = msgspec.convert(asked["jobs"], list[Job])
    return {"names": [str(name) for name in _made(spec).submit(jobs, _options(spec, asked), asked["at_most"])]}


def _states(spec: LauncherSpec, asked: dict[str, Any]) -> dict[str, Any]:
    found: list[JobState] = _made(spec).states(asked["names"], _options(spec, asked))
    return {"states": msgspec.to_builtins(found)}


def _cancel(spec: LauncherSpec, asked: dict[str, Any]) -> dict[str, Any]:
    _made(spec).cancel(asked["name"], _options(spec, asked))
    return {}


ACTIONS: dict[str, Callable[[LauncherSpec, dict[str, Any]], dict[str, Any]]] = {
    "describe": _describe,
    "validate": _validate,
    "submit": _submit,
    "states": _states,
    "cancel": _cancel,
}


def _made(spec: LauncherSpec) -> Launcher:
    made: Launcher = load_attribute(spec.launcher)()
    return made


def _options(spec: LauncherSpec, asked: dict[str, Any]) -> Any:
    return convert_config(asked["options"], spec.options)


def answer(name: str, action: str) -> tuple[dict[str, Any], int]:
    """What to print, and the exit code."""
    try:
        asked = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, Any])
        return ACTIONS[action](load_launcher(name), asked), ExitCode.DONE
    except UserError as error:
        return {"error": {"message": str(error)}}, ExitCode.USER_ERROR
    except (Exception, SystemExit) as error:
        cause = " ".join(str(error).split())
        message = f"launcher {name!r} is broken: {type(error).__name__}: {cause}"
        return {"error": {"message": message}}, ExitCode.PLUGIN_FAILED


if __name__ == "__main__":
    print_apart(lambda: answer(*sys.argv[1:3]), longest_seconds=int(SUBMIT_SECONDS))
