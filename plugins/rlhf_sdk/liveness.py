"""Whether the process of a run is still the one that was started: pid, start time and boot id."""

from __future__ import annotations

import os
import socket
import time
from functools import cache
from pathlib import Path

from rlhf_sdk.evidence import STALLED_AFTER_SECONDS
from rlhf_sdk.run_record import ProcessIdentity, RunStatus
from rlhf_sdk.whereabouts import directory_identity


@cache
def host_name() -> str:
    return socket.gethostname()


@cache
def boot_id() -> str:
    """Differs after every boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        import psutil

        return str(int(psutil.boot_time()))


def identity_of(pid: int) -> ProcessIdentity | None:
    """The process that has this id now; None if there is none, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return _identity_without_proc(pid)
    return None if fields[0] in "ZX" else ProcessIdentity(pid=pid, start=fields[19])


def _identity_without_proc(pid: int) -> ProcessIdentity | None:
    if Path("/proc/self/stat").exists():
        return None
    import psutil

    try:
        process = psutil.Process(pid)
        return ProcessIdentity(pid=pid, start=repr(process.create_time()))
    except psutil.NoSuchProcess:
        return None


def is_alive(identity: ProcessIdentity | None) -> bool:
    """Whether this very process, not a later one with its id, still runs on this host."""
    return identity is not None and identity_of(identity.pid) == identity


class Silence:
    """How long a heartbeat has not moved, by this machine's steady clock: the wall clock may jump.

    A heartbeat that is both silent and of the future, since the clock was set back, is dated when it was made, so that
    nobody takes it for a fresh one until then.
    """

    def __init__(self, heartbeat: Path) -> None:
        self._heartbeat = heartbeat
        self._touched: float | None = None
        self._since = time.monotonic()

    def seconds(self) -> float:
        touched = self._touched_at()
        if touched != self._touched:
            self._touched, self._since = touched, time.monotonic()
        silent = time.monotonic() - self._since
        if touched is not None and touched > time.time() and silent > STALLED_AFTER_SECONDS:
            made = time.time() - silent
            os.utime(self._heartbeat, (made, made))
            self._touched = self._touched_at()
        return silent

    def _touched_at(self) -> float | None:
        return self._heartbeat.stat().st_mtime if self._heartbeat.exists() else None


def runs_here(status: RunStatus) -> bool:
    """Whether the run was started on this host, so that its pids mean something."""
    return status.host == host_name()


def has_process(status: RunStatus, run: Path) -> bool | None:
    """Whether the worker, or the shim that will report on it, is alive and serves this very directory, not the one that
    it was copied from; None for a run of another host."""
    if not runs_here(status):
        return None
    if status.directory and status.directory != directory_identity(run):
        return False
    return status.boot_id == boot_id() and (is_alive(status.worker) or is_alive(status.shim))


def own_identity() -> ProcessIdentity:
    identity = identity_of(os.getpid())
    assert identity is not None, "this process is running"
    return identity
