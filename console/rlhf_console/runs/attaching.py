"""Which run somebody means who names none."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from rlhf_console.runs.store import LiveRun, headings
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import LIVE, State
from rlhf_sdk.trainer import UserError


def run_to_attach(root: Path) -> LiveRun:
    """The newest run at work, else the newest of all; of a pipeline the pipeline itself.

    Raises `UserError` where there is none.
    """
    states = _states(root)
    if not states:
        raise UserError(f"no run in {root}: `rlhf-console --demo` starts one")
    at_work = [run_id for run_id, state in states.items() if state in LIVE]
    return LiveRun.open(RunDir(root / (at_work or list(states))[-1]))


def _states(root: Path) -> dict[str, State]:
    """Of every readable run that is no stage, by id, newest last."""
    found = dict[str, State]()
    for run in headings(root):
        if run.pipeline is None:
            with suppress(UserError):
                found[run.id] = RunDir(root / run.id).state()
    return found
