"""A sweep whose cells a launcher places: one array, cells that the scheduler begins, a stop that takes back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlhf_sdk import launch
from rlhf_sdk.commands import Stop
from rlhf_sdk.events import Result
from rlhf_sdk.launching import placing
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from stub_programs import Stub

NAMES = ("a", "b", "c")


def begun(root: Path, slots: int) -> RunDir:
    each = {name: {"plugin": "echo", "config": {"seed": place}} for place, name in enumerate(NAMES)}
    config: dict[str, Any] = {"base": {"plugin": "echo", "config": {"steps": 2}}, "cells": each, "slots": slots}
    placed = {"launcher": "slurm", "launcher_options": {"partition": "gpu"}}
    run = launch.create_run(root, plugin="sweep", config={**config, "rows": {"all": list(NAMES)}, **placed})
    launch.start(run)
    return run


def cell(run: RunDir, name: str) -> RunDir:
    return RunDir(run.root / f"{run.id}.{name}")


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def queued(run: RunDir) -> bool:
    return all(cell(run, name).path.exists() and cell(run, name).state() is State.QUEUED for name in NAMES)


def make(run: RunDir, name: str) -> None:
    """As the scheduler would."""
    subprocess.run(placing.job_of(cell(run, name), launch.NO_OPTIONS).command, check=True)


def test_cells_are_an_array_a_stop_takes_back_what_waits_and_a_resume_places_it_again(stub: Stub, root: Path) -> None:
    run = begun(root, slots=2)
    until(lambda: queued(run))
    assert stub.script("4711")["array"] == "0-2%2" and stub.script("4711")["partition"] == "gpu"
    make(run, "b")
    until(lambda: cell(run, "b").state() is State.FINISHED)
    launch.request(run, Stop())
    verdict = launch.wait(run)
    assert verdict is not None and verdict.state is State.STOPPED
    assert sorted(stub.told("cancelled")) == ["4711_0", "4711_2"]
    launch.resume(run)
    until(lambda: (stub.folder / "4712.sh").exists() and cell(run, "c").state() is State.QUEUED)
    assert stub.script("4712")["array"] == "0-1%2", "what has finished is not made again"
    for name in ("a", "c"):
        make(run, name)
    verdict = launch.wait(run)
    assert verdict is not None and verdict.state is State.FINISHED
    (found,) = [event.data for event in run.events() if isinstance(event, Result)][-1:]
    assert found["rows"]["all"]["echo/sum"]["seeds"] == 3
