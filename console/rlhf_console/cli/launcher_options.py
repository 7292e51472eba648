"""Where a run goes: the options of verbs that start one, and what is said of a run that was placed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from rlhf_console.launchers import describe
from rlhf_console.profiles import nested, parse_value
from rlhf_sdk.config_errors import overlay
from rlhf_sdk.launching import asking, placing
from rlhf_sdk.launching.contract import LOCAL, Choice, JobState
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

LauncherOption = Annotated[
    str,
    typer.Option("--launcher", metavar="NAME", help="Who places it, such as slurm: see `rlhf plugins`."),
]
LauncherSettings = Annotated[
    list[str] | None,
    typer.Option("--launcher-option", metavar="KEY=VALUE", help="See `rlhf config LAUNCHER`; repeatable."),
]


def chosen_launcher(launcher: str, settings: Sequence[str], before: Choice | None = None) -> Choice:
    """The launcher with its options complete; `before`: what an earlier run was placed by, which holds where nothing
    else is said. Raises `UserError` naming what is wrong."""
    name = launcher or (before.launcher if before else LOCAL.launcher)
    given = _given(name, settings)
    if before is not None and before.launcher == name:
        given = overlay(before.options, given)
    if name == LOCAL.launcher and not given:
        return LOCAL
    try:
        return asking.chosen(name, given)
    except UserError as error:
        raise UserError(f"--launcher {name}: {error}") from None


def _given(name: str, settings: Sequence[str]) -> dict[str, Any]:
    """Options as they were typed; what is text stays text."""
    if not settings:
        return {}
    texts = {option["key"] for option in describe(name)["options"] if option["allowed"].endswith("text")}
    found = dict[str, Any]()
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise UserError(f"--launcher-option {setting!r}: expected KEY=VALUE, such as partition=gpu")
        text = key in texts and not value.startswith("[")
        found[key] = value if text or key.partition(".")[0] in texts - {key} else parse_value(value)
    return nested(found)


def brings_together(choice: Choice) -> bool:
    """Whether several machines need not be told where they meet."""
    return choice != LOCAL and bool(describe(choice.launcher)["meets"])


def placed_in_words(run: RunDir) -> str:
    """Where a launcher has placed the run, and what the scheduler says of it now; "" for one that was started here."""
    placed = run.placement()
    return f"{placed.launcher} job {placed.job}: {_said(placing.job_state(run))}" if placed else ""


def _said(state: JobState | None) -> str:
    if state is None:
        return ""
    return " ".join(filter(None, [state.detail or state.state, f"on {state.host}" if state.host else ""]))
