"""What submitit calls on the cluster's machines: an attempt of a run that checkpoints and is requeued on USR1."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec
from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import DelayedSubmission

from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.launching.job import Attempt, join_attempt
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from rlhf_sdk.trainer import RunFailure

FIRST_PORT, PORTS = 20000, 20000
USR1_AFTER_SIGTERM_SECONDS = 5.0
GOES_ON = (State.REQUEUED, State.RELEASED, State.FINISHED)
"""What a run is after USR1: released where rank 0 is on another machine, and heard of it by a command. A job of a
finished run that comes back ends at once, which is better than one that failed for nothing."""


class SlurmJob:
    """Called by submitit on each of the job's machines, after every requeue again."""

    def __init__(self, run: str, options: AttemptOptions) -> None:
        self.run, self.options = run, options

    def __call__(self) -> int:
        """Returns 0; on other machines than the first whatever the run ended with. Raises `RunFailure` with the run's
        exit code, for Slurm to see a job that failed."""
        environment = JobEnvironment()
        directory = RunDir(Path(self.run))
        options = self.options
        if options.nodes > 1:
            options = msgspec.structs.replace(options, rendezvous=meeting(environment))
        if environment.global_rank > 0:
            return join_attempt(directory, options)
        self.attempt = Attempt(directory)
        code = self.attempt.make(options)
        if code == ExitCode.REQUEUE and directory.state() is State.REQUEUED:
            # Its time is over (--max-time), or USR1 reached it before us: as if the scheduler had asked.
            os.kill(os.getpid(), preemption_signal())
        if was_terminated(directory):
            # Some clusters pre-empt with SIGTERM first: USR1, if it comes, is heard here.
            time.sleep(USR1_AFTER_SIGTERM_SECONDS)
        return _ended(code, directory)

    def checkpoint(self) -> DelayedSubmission | None:
        """Called by submitit when the preemption signal has come: what shall be done in the next job."""
        self.attempt.interrupt()
        directory = RunDir(Path(self.run))
        if directory.state() not in GOES_ON and not was_terminated(directory):
            return None
        return DelayedSubmission(SlurmJob(self.run, self.options))

    def __getstate__(self) -> dict[str, object]:
        return {"run": self.run, "options": self.options}


def was_terminated(run: RunDir) -> bool:
    """Whether SIGTERM ended it, rather than somebody's command."""
    verdict = run.exit()
    return verdict is not None and verdict.reason == f"stopped by {signal.SIGTERM.name}"


def preemption_signal() -> signal.Signals:
    return signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]


def meeting(environment: JobEnvironment) -> str:
    """Where a job's machines meet: on the first, at a port that is another after each requeue, so that nobody joins
    what is left of the time before."""
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    port = FIRST_PORT + (int(environment.raw_job_id) * 31 + restarts) % PORTS
    return f"{environment.hostnames[0]}:{port}"


def _ended(code: int, run: RunDir) -> int:
    if code != ExitCode.DONE:
        verdict = run.exit()
        raise RunFailure(f"run {run.id} ended with {code}: {verdict.reason if verdict else ''}", exit_code=code)
    return code
