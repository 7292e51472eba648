"""Attempts at a run in processes forked from this one, which has loaded nothing of the plugin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rlhf_sdk.commands import Resume, send_command
from rlhf_sdk.contract.rehearsal import Act, Seen, rehearse
from rlhf_sdk.events import StateChanged
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State

POLL_SECONDS = 0.005
BROKEN = 99


@dataclass(frozen=True)
class Ending:
    """`status` as from a shell, 128 + n for signal n; None where there was no end in time. `held`: it was paused."""

    status: int | None
    seen: Seen
    held: bool = False


def attempt(run: RunDir, act: Act, seconds: float) -> Ending:
    """One attempt, to whatever end; one that takes longer than `seconds` is killed, one that is held told to go on."""
    notes = _notes(run)
    pid = _fork(lambda: rehearse(run, act, notes))
    watch = _Watch(run) if act.how == "pause" else None
    status = _wait(pid, seconds, watch)
    return Ending(status, _seen(notes), held=watch is not None and watch.held)


def attempt_elsewhere(run: RunDir, seconds: float) -> Ending:
    """An undisturbed attempt in a process of its own, with another order of sets."""
    notes = _notes(run)
    command = [sys.executable, "-P", "-m", "rlhf_sdk.contract.rehearsal", str(run.path), str(notes)]
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    process = subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": seed})
    status = _wait(process.pid, seconds, None)
    process.returncode = status  # it has been waited for
    return Ending(status, _seen(notes))


def _notes(run: RunDir) -> Path:
    file = run.path.with_name("seen.json")
    file.unlink(missing_ok=True)
    return file


def _seen(notes: Path) -> Seen:
    return msgspec.json.decode(notes.read_bytes(), type=Seen) if notes.exists() else Seen()


def _fork(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = BROKEN
        try:
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


class _Watch:
    """Tells a run that is held to go on."""

    def __init__(self, run: RunDir) -> None:
        self._run, self._events = run, run.events()
        self.held = False

    def look(self) -> None:
        for event in self._events:
            if isinstance(event, StateChanged) and event.state == State.PAUSED:
                self.held = True
                send_command(self._run.commands, Resume())


def _wait(pid: int, seconds: float, watch: _Watch | None) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if watch is not None:
            watch.look()
        time.sleep(POLL_SECONDS)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None
