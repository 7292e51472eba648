"""One run on two machines: it is held from either, tells of a cut cable, goes on once it is mended, or ends clearly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from machines import Machine, two_machines
from rlhf_sdk import launch
from rlhf_sdk.commands import Pause, Resume
from rlhf_sdk.events import Alert, MetricsLogged, Started
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.liveness import is_alive
from rlhf_sdk.ranked.reports import read_reports
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from tiny_runs import build_models, world

PATIENCE_SECONDS = 120
RANK_TIMEOUT_SECONDS = 20
START = """
import sys
from pathlib import Path
from rlhf_sdk import launch
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
options = AttemptOptions(processes=1, nodes=2, rendezvous=sys.argv[2], rank_timeout_seconds=float(sys.argv[3]))
launch.start(RunDir(Path(sys.argv[1])), options)
"""


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    """torchrun deals ranks in the order of the addresses as text: the machine that joins has rank 0."""
    try:
        made = two_machines("10.77.0.9", "10.77.0.10")
        pair = made.__enter__()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces may be made here: {error}")
    yield pair
    made.__exit__(None, None, None)


@contextmanager
def begun(run: RunDir, alpha: Machine) -> Iterator[None]:
    """Started on `alpha`; nothing of it is left."""
    where = f"{alpha.address}:29400"
    command = [sys.executable, "-c", START, str(run.path), where, str(RANK_TIMEOUT_SECONDS)]
    subprocess.run(alpha.inside(*command), check=True)
    try:
        yield
    finally:
        agent = run.status().worker  # type: ignore[union-attr]
        for process in [agent, *(report.process for report in read_reports(run.path))]:
            if process is not None and is_alive(process):
                os.kill(process.pid, signal.SIGTERM if process is agent else signal.SIGKILL)


@contextmanager
def joined(run: RunDir, beta: Machine, said: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", "from rlhf_console.cli import main; main()", "join", run.id]
    with said.open("wb") as stream:
        part = subprocess.Popen(
            beta.inside(*command, "--runs", str(run.root)), stderr=stream, stdout=subprocess.DEVNULL
        )
    try:
        yield part
    finally:
        if part.poll() is None:
            for process in psutil.Process(part.pid).children(recursive=True):
                process.kill()
            part.kill()
        part.wait()


def until(run: RunDir, found: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not found():
        assert time.monotonic() < deadline and run.exit() is None, run.log.read_text()[-2000:]
        time.sleep(0.05)


def told(run: RunDir, kind: type[Any]) -> list[Any]:
    return [event for event in run.events() if isinstance(event, kind)]


def test_two_machines_are_held_together_and_outlive_a_cut_cable(
    tmp_path: Path, machines: tuple[Machine, Machine]
) -> None:
    alpha, beta = machines
    models = build_models(tmp_path)
    config = {
        "data": world(3, 6400), "model": {"path": models["policy"]}, "batch_size": 8, "micro_batch_size": 2,
        "max_steps": 800, "checkpoint_every": 1, "threads": 1, "eval_every": 0,
    }  # fmt: skip
    run, said = launch.create_run(tmp_path / "runs", plugin="sft", config=config), tmp_path / "said"
    with begun(run, alpha), joined(run, beta, said) as part:
        until(run, lambda: told(run, MetricsLogged))
        assert [report.host for report in read_reports(run.path)] == ["beta", "alpha"]
        launch.request(run, Pause())
        until(run, lambda: run.state() is State.PAUSED)
        launch.request(run, Resume())
        until(run, lambda: run.state() is State.RUNNING)
        alpha.cable("down")
        until(run, lambda: "waits for the others" in said.read_text())
        alert = told(run, Alert)[0]
        assert alert.code == "ranks_restart" and alert.message.startswith("rank 1 on alpha can't be reached")
        assert f"rlhf join {run.id}" in alert.advice
        alpha.cable("up")
        until(run, lambda: len(told(run, Started)) == 2)
        again = told(run, Started)[1]
        assert again.attempt == 2 and again.resumed_from.startswith("step-")
        until(run, lambda: told(run, MetricsLogged)[-1].attempt == 2)
        alpha.cable("down")
        verdict = launch.wait(run)
        assert part.wait(PATIENCE_SECONDS) == ExitCode.PLUGIN_FAILED
    assert verdict is not None and (verdict.state, verdict.exit_code) == (State.FAILED, ExitCode.PLUGIN_FAILED)
    assert verdict.reason.startswith("rank 0 on beta can't be reached")
    assert verdict.reason.endswith(f"no machine joined again within {RANK_TIMEOUT_SECONDS} s")
    lines = said.read_text().splitlines()
    assert len(lines) == 4 and all(line.startswith("rlhf join: ") for line in lines), lines
    assert lines[-1] == f"rlhf join: run {run.id} is failed: {verdict.reason}"
