"""Histories of runs: what their directories and processes showed, moment by moment, in `NAME.jsonl`.

A line is a moment: `now`, `status`, `exit`, `heartbeat`, `process`, and the events that were new. Running this module
records them anew, which takes two minutes: one run has to be silent for one of them.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk import launch
from rlhf_sdk.commands import Pause, Stop
from rlhf_sdk.events import MetricsLogged, decode_event
from rlhf_sdk.evidence import STALLED_AFTER_SECONDS, Evidence
from rlhf_sdk.run_dir import FINAL_WORDS, RunDir
from rlhf_sdk.run_record import ExitRecord, RunStatus
from rlhf_sdk.states import State

FOLDER = Path(__file__).parent
LONGEST_SECONDS = 10.0
CONFIG = {"delay_seconds": 0.1, "checkpoint_every": 2}


class Moment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line; `events` are those that were not there a moment before."""

    now: float = 0.0
    status: RunStatus | None = None
    exit: ExitRecord | None = None
    heartbeat: float | None = None
    process: bool | None = None
    events: list[dict[str, Any]] = []


def moments(name: str) -> Iterator[Evidence]:
    """A recorded history as `state_of` takes it."""
    events: list[dict[str, Any]] = []
    for line in (FOLDER / f"{name}.jsonl").read_bytes().splitlines():
        moment = msgspec.json.decode(line, type=Moment)
        events += moment.events
        yield Evidence(
            status=moment.status,
            verdict=moment.exit,
            events=[decode_event(msgspec.json.encode(event)) for event in events[-FINAL_WORDS:]],
            heartbeat=moment.heartbeat,
            process=moment.process,
            now=moment.now,
        )


def record(name: str, run: RunDir, live: Callable[[RunDir], None]) -> None:
    """Writes down what `run` shows while `live` does something to it, whenever it shows something else."""
    seen: list[Moment] = []
    written, done = run.events(), threading.Event()

    def look() -> None:
        found = run.evidence()
        status = found.status and msgspec.structs.replace(found.status, host="here", boot_id="this boot")
        shown = Moment(status=status, exit=found.verdict, heartbeat=found.heartbeat, process=found.process)
        new = [msgspec.to_builtins(event) for event in written]
        late = seen and found.now - seen[-1].now > LONGEST_SECONDS
        if not seen or new or late or shown != msgspec.structs.replace(seen[-1], now=0.0, events=[]):
            seen.append(msgspec.structs.replace(shown, now=found.now, events=new))

    def watch() -> None:
        while not done.wait(0.02):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    live(run)
    done.set()
    watcher.join()
    seen.append(msgspec.structs.replace(seen[-1], now=time.time(), events=[]))
    (FOLDER / f"{name}.jsonl").write_bytes(b"".join(msgspec.json.encode(moment) + b"\n" for moment in seen))


def wait_for_step(run: RunDir, step: int) -> None:
    while not any(isinstance(event, MetricsLogged) and event.step >= step for event in run.last_events(50)):
        time.sleep(0.02)


def wait_for_state(run: RunDir, state: State) -> None:
    while run.state() is not state:
        time.sleep(0.02)


def kill(run: RunDir, *, shim: bool) -> None:
    status = run.status()
    assert status is not None and status.worker is not None
    if shim:
        os.kill(status.shim.pid, signal.SIGKILL)
    os.kill(status.worker.pid, signal.SIGKILL)


def straight(run: RunDir) -> None:
    launch.start(run)
    launch.wait(run)


def paused(run: RunDir) -> None:
    launch.start(run)
    wait_for_step(run, 1)
    launch.request(run, Pause())
    wait_for_state(run, State.PAUSED)
    time.sleep(1.2)
    launch.resume(run)
    wait_for_step(run, 3)
    launch.request(run, Stop())
    launch.wait(run)
    launch.resume(run)
    launch.wait(run)


def killed(run: RunDir) -> None:
    launch.start(run)
    wait_for_step(run, 3)
    kill(run, shim=False)
    launch.wait(run)
    launch.resume(run)
    launch.wait(run)


def lost(run: RunDir) -> None:
    launch.start(run)
    wait_for_step(run, 3)
    kill(run, shim=True)
    wait_for_state(run, State.LOST)
    time.sleep(0.5)
    launch.resume(run)
    launch.wait(run)


def without_shim(run: RunDir) -> None:
    launch.start(run)
    wait_for_step(run, 2)
    status = run.status()
    assert status is not None
    os.kill(status.shim.pid, signal.SIGKILL)
    launch.wait(run)


def silent(run: RunDir) -> None:
    launch.start(run)
    wait_for_step(run, 2)
    launch.send_signal(run, signal.SIGSTOP)
    time.sleep(STALLED_AFTER_SECONDS + 3)
    launch.send_signal(run, signal.SIGCONT)
    launch.wait(run)


def requeued(run: RunDir) -> None:
    launch.start(run)
    wait_for_step(run, 2)
    launch.send_signal(run, signal.SIGUSR1)
    launch.wait(run)
    launch.resume(run)
    wait_for_step(run, 4)
    launch.request(run, Pause(release=True))
    launch.wait(run)


def refused(run: RunDir) -> None:
    """A config that its plugin does not accept."""
    launch.start(run)
    launch.wait(run)


def copied(original: RunDir) -> None:
    """Records the copy, not the original."""
    launch.start(original)
    wait_for_step(original, 2)
    copy = RunDir(original.path.with_name("copy"))
    shutil.copytree(original.path, copy.path)

    def live(run: RunDir) -> None:
        time.sleep(0.3)
        launch.resume(run)
        launch.wait(run)

    record("copied", copy, live)
    launch.wait(original)


HISTORIES: dict[str, Callable[[RunDir], None]] = {
    "straight": straight,
    "paused": paused,
    "killed": killed,
    "lost": lost,
    "without_shim": without_shim,
    "silent": silent,
    "requeued": requeued,
    "refused": refused,
}


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        for name in sys.argv[1:] or [*HISTORIES, "copied"]:
            config = {"stepps": 3} if name == "refused" else {**CONFIG, "steps": 20 if name == "copied" else 6}
            print(name, file=sys.stderr)
            run = launch.create_run(Path(root), plugin="echo", config=config)
            if name == "copied":
                copied(run)
            else:
                record(name, run, HISTORIES[name])


if __name__ == "__main__":
    main()
