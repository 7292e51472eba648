"""Which run somebody means who names none."""

from __future__ import annotations

from pathlib import Path

from rlhf_console.runs.store import LiveRun, open_runs
from rlhf_sdk.states import LIVE
from rlhf_sdk.trainer import UserError


def run_to_attach(root: Path) -> LiveRun:
    """The newest run at work, else the newest of all; of a pipeline the pipeline itself.

    Raises `UserError` where there is none.
    """
    runs = [run for run in open_runs(root) if run.record.pipeline is None]
    if not runs:
        raise UserError(f"no run in {root}: `rlhf-console --demo` starts one")
    return next((run for run in reversed(runs) if run.state in LIVE), runs[-1])
