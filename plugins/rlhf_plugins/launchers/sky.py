"""The launcher `sky`: writes a SkyPilot task beside the run and submits it as a managed job by SkyPilot's own command.

SkyPilot's packages can't be installed beside ours (it holds others back), so it is never imported.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from rlhf_plugins.launchers import SkyOptions
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import make_private_directory, write_atomically
from rlhf_sdk.launching.contract import SUBMIT_SECONDS, Job, JobKind, JobState
from rlhf_sdk.launching.placing import JOB_MODULE
from rlhf_sdk.trainer import UserError

RUNS, BUCKET = "rlhf-runs", "rlhf-bucket"
"""Folders in the home of a machine there: the run root, and the bucket that runs are copied to."""
FOLDER = ".jobs"
COMMAND = "sky"
QUEUED = {"PENDING", "SUBMITTED", "STARTING", "DEPRECATED_SUBMITTED"}
RUNNING = {"RUNNING", "RECOVERING", "CANCELLING"}
ASK_SECONDS = 25.0


class SkyLauncher:
    """A job's name is the run's id and the number of its attempt."""

    def submit(self, jobs: Sequence[Job], options: SkyOptions, at_most: int) -> list[str]:
        return [_submit(job, options) for job in jobs]

    def states(self, names: Sequence[str], options: SkyOptions) -> list[JobState]:
        said = _called([COMMAND, "jobs", "queue", "--all", "-o", "json"], ASK_SECONDS)
        try:
            rows = json.loads(said[said.index("[") :])
            found = {str(row["job_name"]): str(row["status"]) for row in rows}
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(f"launcher sky: its queue can't be read: {error}") from None
        return [_state(found.get(name, "")) for name in names]

    def cancel(self, name: str, options: SkyOptions) -> None:
        _called([COMMAND, "jobs", "cancel", "--yes", f"--name={name}"], ASK_SECONDS)


def _submit(job: Job, options: SkyOptions) -> str:
    name = f"{job.name}-{job.attempt + 1}"
    file = _written(job, name, task(job, name, options))
    command = [COMMAND, "jobs", "launch", "--yes", "--detach-run", "--name", name]
    for secret in options.secrets:
        command += ["--secret", secret]
    _called([*command, str(file)], SUBMIT_SECONDS)
    return name


def task(job: Job, name: str, options: SkyOptions) -> dict[str, Any]:
    """A SkyPilot task as plain data. Raises `UserError` for what can't be done there."""
    if job.options.nodes > 1:
        raise UserError("launcher sky: --nnodes: machines of a cloud share no run directory; ask for more GPUs on one")
    workdir = options.workdir or job.cwd
    return {
        "name": name,
        **({"workdir": workdir} if workdir and Path(workdir).is_dir() else {}),
        "num_nodes": 1,
        "resources": _resources(options),
        "file_mounts": {**_mounts(job), f"~/{BUCKET}": {"source": options.bucket, "mode": "MOUNT"}, **options.mounts},
        "setup": options.setup,
        "run": _run_line(job),
    }


def _resources(options: SkyOptions) -> dict[str, Any]:
    asked = {
        "infra": options.infra,
        "accelerators": options.accelerators,
        "cpus": options.cpus,
        "memory": options.memory_gib,
    }
    return {
        **{key: value for key, value in asked.items() if value},
        "disk_size": options.disk_gib,
        "use_spot": options.spot,
        "job_recovery": {
            "max_restarts_on_errors": options.restarts,
            "recover_on_exit_codes": [int(ExitCode.REQUEUE)],
        },
    }


def _mounts(job: Job) -> dict[str, Any]:
    """The run, as far as it has come here, and the checkpoints that its config refers to with their records."""
    folders = [Path(job.run), *(Path(parent) for parent in job.parents)]
    records = [folder.parent.parent / "run.json" for folder in folders[1:]]
    root = Path(job.run).parent
    return {f"~/{RUNS}/{path.relative_to(root)}": str(path) for path in [*folders, *records]}


def _run_line(job: Job) -> str:
    encoded = shlex.quote(msgspec.json.encode(job.options).decode())
    run, mirror = (f'"$HOME"/{folder}/{shlex.quote(job.name)}' for folder in (RUNS, BUCKET))
    return f"python -P -m {JOB_MODULE} {run} --options {encoded} --mirror {mirror}"


def _written(job: Job, name: str, made: dict[str, Any]) -> Path:
    """JSON, which is YAML too. Raises `UserError` where it can't be written."""
    folder = Path(job.run).parent / FOLDER / job.name
    try:
        make_private_directory(folder.parent)
        make_private_directory(folder)
        write_atomically(folder / f"{name}.yaml", msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
    except OSError as error:
        raise UserError(f"{folder} can't be written: {os.strerror(error.errno or 0)}") from error
    return folder / f"{name}.yaml"


def _state(status: str) -> JobState:
    kind: JobKind = "queued" if status in QUEUED else "running" if status in RUNNING else "ended"
    return JobState(state=kind, detail=status.lower().replace("_", " ") or "not among SkyPilot's jobs")


def _called(command: list[str], seconds: float) -> str:
    """What SkyPilot says. Raises `UserError` with its complaint."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except FileNotFoundError:
        raise UserError(
            f"launcher sky: no {command[0]!r} on the PATH: install SkyPilot by itself (docs/clusters.md)"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"launcher sky: no answer within {seconds:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or str(done.returncode)).splitlines()[-1]
        raise UserError(f"launcher sky: {last}")
    return done.stdout
