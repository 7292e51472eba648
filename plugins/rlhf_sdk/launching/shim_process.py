"""A run's shim as a process of this machine: everybody who begins an attempt here begins with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rlhf_sdk.files import PRIVATE_FILE
from rlhf_sdk.foreign import check_tree
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.ranked.meeting import check_meeting
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunStatus
from rlhf_sdk.states import ENDED
from rlhf_sdk.trainer import UserError

START_TIMEOUT_SECONDS = 30.0
NOTHING: Mapping[str, str] = {}


def begin_attempt(
    run: RunDir, options: AttemptOptions, variables: Mapping[str, str] = NOTHING
) -> tuple[subprocess.Popen[bytes], RunStatus]:
    """The shim, with these environment variables beside ours, and its first report on the attempt after the newest.

    The shim leads a session of its own and inherits no open files, so nothing that happens to the caller or its
    terminal reaches it. Raises `UserError` if the attempt can't be started, or somebody else starts it.
    """
    check_tree(run.path)
    before = run.status()
    attempt = before.attempt if before else 0
    options = options.as_before(before.options) if before else options
    _check_meeting(options, resumed=before is not None)
    encoded = msgspec.json.encode(options).decode()
    log = _open_log(run)
    try:
        shim = subprocess.Popen(
            [sys.executable, "-P", "-m", "rlhf_sdk.shim", str(run.path.absolute()), str(attempt), encoded],
            cwd=working_directory(run),
            env=os.environ | dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )
    finally:
        os.close(log)
    return shim, _wait_for_report(run, shim, after_attempt=attempt)


def working_directory(run: RunDir) -> str | None:
    """Where the run's relative paths are meant from, if that is there."""
    recorded = run.record().cwd
    return recorded if recorded and Path(recorded).is_dir() else None


def _check_meeting(options: AttemptOptions, *, resumed: bool) -> None:
    """Raises `UserError` where other machines could not meet this one."""
    if options.nodes < 2:
        return
    try:
        check_meeting(options.rendezvous)
    except UserError as error:
        alone = "; --nnodes 1 goes on with this machine alone" if resumed else ""
        raise UserError(f"{error}{alone}") from None


def _open_log(run: RunDir) -> int:
    try:
        return os.open(run.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
    except OSError as error:
        raise UserError(f"run {run.id} can't be written: {error.strerror}") from error


def _wait_for_report(run: RunDir, shim: subprocess.Popen[bytes], *, after_attempt: int) -> RunStatus:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        ended = shim.poll() is not None
        status = run.status()
        if status is not None and status.attempt > after_attempt and (status.worker or status.state in ENDED):
            return status
        if ended:
            break
        time.sleep(0.01)
    raise UserError(f"run {run.id} could not be started; see {run.log}")
