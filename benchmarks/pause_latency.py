"""How long a PPO run of the demo's size goes on after somebody asked it to pause, at random moments."""

from __future__ import annotations

import os
import random
import tempfile
import time
from pathlib import Path

from benchmarks.record import record
from rlhf_console.requests import resolve_request
from rlhf_sdk import launch
from rlhf_sdk.asking import Asking
from rlhf_sdk.commands import Pause, Stop
from rlhf_sdk.events import MetricsLogged
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import ENDED, State

SETTINGS = ("sft.max_steps=2", "rm.max_steps=2")
"""What is trained before PPO does not matter here."""
PAUSES = 20
LONGEST_BETWEEN_SECONDS = 3.0


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        pipeline = resolve_request("pipeline", "demo", SETTINGS, [], None, Path(root)).create(
            Path(root), name="pauses", argv=[]
        )
        launch.start(pipeline)
        ppo = RunDir(Path(root) / f"{pipeline.id}.ppo")
        found = latencies(ppo)
        steps = [event.seconds for event in ppo.events() if isinstance(event, MetricsLogged)]
        launch.request(pipeline, Stop())
        launch.wait(pipeline)
    figures = {
        "pauses": len(found),
        "median_seconds": found[len(found) // 2],
        "longest_seconds": found[-1],
        "step_seconds": sum(steps) / len(steps),
        "load_average": os.getloadavg()[0],
        "cores": os.cpu_count(),
    }
    print("\n".join(f"{name}: {value:.3g}" for name, value in figures.items()))
    record("pause-latency", figures)


def latencies(run: RunDir) -> list[float]:
    """Seconds from the command to the run being held, sorted."""
    moments, found = random.Random(0), list[float]()
    while not run.record_file.exists() or run.state() is not State.RUNNING:
        time.sleep(0.1)
    while len(found) < PAUSES and run.state() not in ENDED:
        time.sleep(moments.uniform(0.2, LONGEST_BETWEEN_SECONDS))
        began = time.time()
        asking = Asking(run, Pause())
        while not asking.settled():
            time.sleep(0.005)
        assert asking.answer is not None and asking.answer.outcome == "done"
        found.append(asking.answer.time - began)
        launch.resume(run)
        while run.state() is State.PAUSED:
            time.sleep(0.01)
    return sorted(found)
