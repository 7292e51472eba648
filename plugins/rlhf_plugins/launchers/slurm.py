"""The launcher `slurm`: submitit writes the batch script, submits it, and requeues the job when USR1 comes."""

from __future__ import annotations

import getpass
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlhf_plugins.launchers import SlurmOptions
from rlhf_sdk.files import make_private_directory
from rlhf_sdk.launching.contract import Job, JobKind, JobState
from rlhf_sdk.trainer import UserError

SIGNAL = "USR1"
EXPORTS = (f"export SUBMITIT_PREEMPT_SIGNAL={SIGNAL}", "export PYTHONSAFEPATH=1")
"""For clusters that don't pass the environment on; and no modules come from the folder that the job runs in."""
FOLDER = ".jobs"
"""Below the run root: scripts, logs and pickles of submitit, which only its own jobs load."""
QUEUED = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"}
COMMAND_SECONDS = 25.0
JOB_ID = re.compile(r"\d+(_\d+)?")


class SlurmLauncher:
    """A job's name is Slurm's job id; of an array, with the place in it: 4711_3."""

    def submit(self, jobs: Sequence[Job], options: SlurmOptions, at_most: int) -> list[str]:
        """Several jobs are one array, and ask for the same."""
        executor = self.executor(folder_of(jobs[0]), options.requeues)
        executor.update_parameters(**parameters(jobs, options, at_most))
        from rlhf_plugins.launchers.slurm_job import SlurmJob

        try:
            if len(jobs) == 1:
                return [str(executor.submit(SlurmJob(jobs[0].run, jobs[0].options)).job_id)]
            with executor.batch():
                placed = [executor.submit(SlurmJob(job.run, job.options)) for job in jobs]
        except RuntimeError as error:
            raise UserError(f"slurm refused the job: {error}") from error
        return [str(job.job_id) for job in placed]

    def executor(self, folder: Path, requeues: int) -> Any:
        """Raises `UserError` where there is no submitit, or no Slurm."""
        # Read once, when submitit is imported; the batch script and the job's own handler must name the same signal.
        os.environ["SUBMITIT_PREEMPT_SIGNAL"] = SIGNAL
        try:
            import submitit
        except ImportError:
            raise UserError("launcher slurm needs submitit: pip install 'rlhf-console[slurm]'") from None
        try:
            return submitit.SlurmExecutor(folder, max_num_timeout=requeues)
        except RuntimeError:
            raise UserError("launcher slurm: no srun on this machine's PATH: say it on a login node") from None

    def states(self, names: Sequence[str], options: SlurmOptions) -> list[JobState]:
        listed = _called(["squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%i|%T|%N|%r"])
        fields = [line.strip().split("|", 3) for line in listed.splitlines()]
        found = {field[0]: _state(*field[1:]) for field in fields if len(field) == 4}
        return [found.get(name, JobState(state="ended", detail="no longer in the queue")) for name in names]

    def cancel(self, name: str, options: SlurmOptions) -> None:
        if not JOB_ID.fullmatch(name):
            raise UserError(f"launcher slurm: {name!r} is no job id")
        _called(["scancel", name])


def folder_of(job: Job) -> Path:
    """Private: a pickle is a program. Raises `UserError` where it can't be made."""
    folder = Path(job.run).parent / FOLDER / Path(job.run).name
    try:
        make_private_directory(folder.parent)
        make_private_directory(folder)
    except OSError as error:
        raise UserError(f"{folder} can't be made: {error.strerror}") from error
    return folder


def parameters(jobs: Sequence[Job], options: SlurmOptions, at_most: int) -> dict[str, Any]:
    """submitit's parameters: one task a machine, which starts the machine's processes itself."""
    wanted = jobs[0].options
    nodes, processes = max(wanted.nodes, 1), max(wanted.processes, wanted.stage_processes, 1)
    named = {name: getattr(options, name) for name in ("partition", "account", "qos", "constraint")}
    found: dict[str, Any] = {
        "job_name": jobs[0].name,
        "time": max(round(options.hours * 60), 1),
        "nodes": nodes,
        "ntasks_per_node": 1,
        "gpus_per_node": processes if options.gpus < 0 else options.gpus,
        "cpus_per_task": options.cpus,
        "mem": f"{round(options.memory_gib * 1024)}MB" if options.memory_gib else "",
        "signal_delay_s": options.grace_seconds,
        "array_parallelism": at_most or len(jobs),
        "setup": [*EXPORTS, *options.setup],
        **named,
    }
    further = {"requeue": True, "chdir": jobs[0].cwd, **options.sbatch}
    return {name: value for name, value in found.items() if value} | {"additional_parameters": further}


def _state(word: str, host: str, reason: str) -> JobState:
    detail = f"{word.lower()} ({reason})" if reason not in ("", "None") else word.lower()
    kind: JobKind = "queued" if word in QUEUED else "running" if word in RUNNING else "ended"
    return JobState(state=kind, host=host, detail=detail)


def _called(command: list[str]) -> str:
    """What a command of Slurm says. Raises `UserError` with its complaint."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except FileNotFoundError:
        raise UserError(f"launcher slurm: no {command[0]} on this machine's PATH") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"launcher slurm: {command[0]} gave no answer within {COMMAND_SECONDS:.0f} s") from None
    if done.returncode:
        raise UserError(f"launcher slurm: {command[0]}: {' '.join(done.stderr.split()) or done.returncode}")
    return done.stdout
