"""The launcher `local`: a process of this machine, started at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from rlhf_sdk.evidence import state_of
from rlhf_sdk.launching.contract import Job, JobState, LauncherSpec
from rlhf_sdk.launching.shim_process import begin_attempt
from rlhf_sdk.liveness import is_alive, runs_here
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import ENDED, State


class LocalOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """There is nothing to choose."""


class LocalLauncher:
    """The name of a job is its run's directory."""

    def submit(self, jobs: Sequence[Job], options: LocalOptions, at_most: int) -> list[str]:
        """All at once: there is no queue here. Each has reported when this returns."""
        for job in jobs:
            begin_attempt(RunDir(Path(job.run)), job.options)
        return [job.run for job in jobs]

    def states(self, names: Sequence[str], options: LocalOptions) -> list[JobState]:
        return [_state(RunDir(Path(name))) for name in names]

    def cancel(self, name: str, options: LocalOptions) -> None:
        """As a scheduler does: SIGTERM, on which the run checkpoints and ends."""
        status = RunDir(Path(name)).status()
        if status is not None and runs_here(status) and is_alive(status.shim):
            os.kill(status.shim.pid, signal.SIGTERM)


def _state(run: RunDir) -> JobState:
    evidence = run.evidence()
    state = state_of(evidence)
    over = state in ENDED | {State.LOST, State.CREATED}
    return JobState(
        state="ended" if over else "running", host=evidence.status.host if evidence.status else "", detail=state
    )


spec = LauncherSpec(
    name="local",
    summary="A process of this machine, started at once; what `rlhf run` does without --launcher",
    options=LocalOptions,
    launcher="rlhf_sdk.launching.local:LocalLauncher",
)
