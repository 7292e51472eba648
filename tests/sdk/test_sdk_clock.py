"""The wall clock jumps, back and forth: training, commands and `stalled` go by the steady one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlhf_sdk import launch
from rlhf_sdk.commands import Stop, send_command
from rlhf_sdk.events import MetricsLogged
from rlhf_sdk.evidence import STALLED_AFTER_SECONDS
from rlhf_sdk.liveness import Silence
from rlhf_sdk.run_dir import RunDir

DAY = 86400.0
JUMPING_WORKER = """
import sys, time
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.tail import last_lines
from pathlib import Path

real, run, jumps = time.time, Path(sys.argv[1]), [float(jump) for jump in sys.argv[2].split(",")]

def jumping():
    lines = last_lines(run / "events.jsonl", 500)
    steps = sum(b'"kind":"metrics"' in line for line in lines)
    return real() + jumps[min(steps, len(jumps) - 1)]

time.time = jumping
from rlhf_sdk.worker import main
main([str(run), "--since", str(real())])
"""


def begun(root: Path, steps: int, jumps: str) -> tuple[RunDir, subprocess.Popen[bytes]]:
    config = {"steps": steps, "delay_seconds": 0.02, "checkpoint_every": 1}
    run = launch.create_run(root, plugin="echo", config=config)
    return run, subprocess.Popen([sys.executable, "-c", JUMPING_WORKER, str(run.path), jumps])


@pytest.mark.parametrize("jumps", [f"0,{-DAY},{DAY},0", f"{DAY},0,{-DAY},{DAY}"])
def test_a_run_ends_as_ever_and_is_recorded_in_order(
    root: Path, jumps: str, folded: Callable[[RunDir], dict[int, dict[str, float]]]
) -> None:
    (run, jumping), (straight, steady) = begun(root, 6, jumps), begun(root, 6, "0")
    assert (jumping.wait(), steady.wait()) == (0, 0)
    assert folded(run) == folded(straight) and len(folded(run)) == 6
    events = list(run.events())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    times = [event.time for event in events]
    assert max(times) - min(times) > DAY / 2


@pytest.mark.parametrize("jump", [-DAY, DAY])
def test_a_command_is_obeyed_after_the_clock_has_jumped(root: Path, jump: float) -> None:
    run, worker = begun(root, 10_000, f"0,0,{jump}")
    while sum(isinstance(event, MetricsLogged) for event in run.events()) < 3:
        time.sleep(0.01)
    send_command(run.commands, Stop(time=time.time() - DAY))
    assert worker.wait(timeout=30) == 143


def test_a_heartbeat_of_the_future_is_not_taken_for_a_fresh_one_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is set back by a day, and the worker hangs at that moment."""
    heartbeat, steady = tmp_path / "heartbeat", [1000.0]
    heartbeat.touch()
    monkeypatch.setattr("rlhf_sdk.liveness.time.monotonic", lambda: steady[0])
    made, now = heartbeat.stat().st_mtime, time.time()
    silence = Silence(heartbeat)
    assert silence.seconds() == 0.0
    monkeypatch.setattr("rlhf_sdk.liveness.time.time", lambda: now - DAY + steady[0] - 1000.0)
    steady[0] += STALLED_AFTER_SECONDS - 1
    assert silence.seconds() == STALLED_AFTER_SECONDS - 1 and heartbeat.stat().st_mtime == made
    steady[0] += 2
    assert silence.seconds() == STALLED_AFTER_SECONDS + 1
    assert abs(time.time() - heartbeat.stat().st_mtime - STALLED_AFTER_SECONDS - 1) < 1e-3
    steady[0] += 5
    assert silence.seconds() == STALLED_AFTER_SECONDS + 6
    heartbeat.touch()
    assert silence.seconds() == 0.0
