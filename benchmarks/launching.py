"""From a command to a run's first step, from Ctrl-C to a checkpoint that is safe, from resume to the next step."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.record import record
from rlhf_console.requests import resolve_request
from rlhf_sdk import launch
from rlhf_sdk.checkpoints import damage
from rlhf_sdk.commands import Stop
from rlhf_sdk.events import CheckpointSaved, StateChanged
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State

SETTINGS = ("sft.max_steps=2", "rm.max_steps=2")
"""What is trained before PPO does not matter here."""
TRIES = 3
EPISODES = 64_000
"""More than anybody waits for."""
AFTER_SECONDS = 5.0

Seconds = dict[str, float]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        root = Path(folder) / "runs"
        pipeline = resolve_request("pipeline", "demo", SETTINGS, [], None, root).create(root, name="first", argv=[])
        launch.start(pipeline)
        ppo = RunDir(root / f"{pipeline.id}.ppo")
        while not ppo.record_file.exists() or ppo.state() is not State.RUNNING:
            time.sleep(0.1)
        launch.request(pipeline, Stop())
        launch.wait(pipeline)
        moments = random.Random(0)
        tries = [_once(ppo, moments) for _ in range(TRIES)]
    figures = {name: sorted(each[name] for each in tries) for name in tries[0]}
    for name, values in figures.items():
        print(f"{name:<32} " + " ".join(f"{value:6.2f}" for value in values))
    record("launching", {"tries": TRIES, "sorted": figures, "load_average": os.getloadavg()[0]})


def _once(ppo: RunDir, moments: random.Random) -> Seconds:
    """A run of PPO with the stage's config and models, from its start over Ctrl-C and a resume to another end."""
    config = ppo.record().config | {"total_episodes": EPISODES}
    began = time.time()
    run = launch.create_run(ppo.root, plugin="ppo", config=config)
    launch.start(run)
    found = _start(run, began, "launch")
    time.sleep(AFTER_SECONDS * moments.random())
    stopped = time.time()
    launch.send_signal(run, signal.SIGINT)
    launch.wait(run)
    found["ctrl_c_to_ended_seconds"] = time.time() - stopped
    (saved,) = [event for event in run.events() if isinstance(event, CheckpointSaved)]
    assert damage(run.checkpoints / saved.name) is None
    found |= {"ctrl_c_to_safe_seconds": saved.time - stopped, "checkpoint_seconds": saved.seconds}
    began = time.time()
    launch.resume(run)
    found |= _start(run, began, "resume")
    launch.send_signal(run, signal.SIGKILL)
    launch.wait(run)
    return found


def _start(run: RunDir, began: float, what: str) -> Seconds:
    """Until the worker speaks, and until its first step begins; and the CPU seconds that it had used by then."""
    status = run.status()
    assert status is not None and status.worker is not None
    worker = psutil.Process(status.worker.pid)
    while run.state() is not State.RUNNING:
        time.sleep(0.02)
    times = worker.cpu_times()
    own = [event for event in run.events() if isinstance(event, StateChanged) and event.attempt == status.attempt]
    said = {event.state: event.time - began for event in own}
    return {
        f"{what}_to_worker_seconds": said[State.STARTING],
        f"{what}_to_step_seconds": said[State.RUNNING],
        f"{what}_cpu_seconds": times.user + times.system,
    }
