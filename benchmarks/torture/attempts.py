"""One attempt at a run in a process forked from this one, which has torch loaded and has no other thread."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.torture.moments import Blow, Moments
from rlhf_sdk import worker_control, worker_run
from rlhf_sdk.files import PRIVATE_FILE, PRIVATE_UMASK
from rlhf_sdk.journal import last_attempt
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.worker import Worker

LONGEST_SECONDS = 300.0


@dataclass(frozen=True)
class Ending:
    """How an attempt ended: `status` as from a shell (128 + n for signal n); `struck` says how and where blows fell."""

    status: int
    struck: list[tuple[str, str]]
    places: list[str]


def attempt(run: RunDir, blows: Sequence[Blow] = ()) -> Ending:
    """Runs the worker once, to whatever end. Raises `TimeoutError` if it hangs; it is killed then."""
    said = run.path.with_name(f"{run.id}.said")
    status = in_a_fork(lambda: _work(run, blows, said))
    lines = said.read_text().splitlines() if said.exists() else []
    said.unlink(missing_ok=True)
    struck = [line.removeprefix("struck ").partition(" ") for line in lines if line.startswith("struck ")]
    places = [line.removeprefix("place ") for line in lines if line.startswith("place ")]
    return Ending(status, [(how, place) for how, _, place in struck], places)


def in_a_fork(work: Callable[[], int | None]) -> int:
    """The exit status of `work` in a process of its own: what it returns, None meaning 0."""
    sys.stdout.flush()
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a fork would lose the other threads"
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = work() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    descriptor = os.pidfd_open(pid)
    end = select.poll()
    end.register(descriptor, select.POLLIN)
    ended = end.poll(LONGEST_SECONDS * 1000)
    os.close(descriptor)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not ended:
        raise TimeoutError(f"no end after {LONGEST_SECONDS:g} s")
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _work(run: RunDir, blows: Sequence[Blow], said: Path) -> int:
    """What `rlhf_sdk.worker.main` does, watched; nothing in it depends on the clock, so that moments can be counted."""
    os.umask(PRIVATE_UMASK)
    with said.open("w", buffering=1) as notes:
        _print_to(run.log)
        worker_control.POLL_SECONDS = 0.0
        worker_run.PROGRESS_SECONDS = 0.0
        time.process_time = lambda: 0.0
        moments = Moments(
            run, {blow.at: blow.how for blow in blows}, lambda place: print(f"struck {place}", file=notes, flush=True)
        )
        since, number = time.time(), last_attempt(run.events_file) + 1
        moments.watch()
        try:
            code = Worker(run, attempt=number, since=since).main()
        except OSError as error:
            print(f"the run directory can't be used: {error}", file=sys.stderr)
            code = 2
        moments.busy = True
        notes.writelines(f"place {place}\n" for place in moments.places)
    return code


def _print_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
