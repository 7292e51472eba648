"""Sweeps of echoes: slots, stop and resume, a second try, what a cell that fails means, what is refused."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf_plugins.sweep.cells import processes_of
from rlhf_sdk import launch
from rlhf_sdk.commands import Pause, Stop
from rlhf_sdk.events import MetricsLogged, Result
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord
from rlhf_sdk.slots import AUTO, VISIBLE, slot_count, slot_variables
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

Begin = Callable[..., RunDir]
NAMES = ("a", "b", "c")


def cells(*names: str, plugin: str = "echo", **config: Any) -> dict[str, Any]:
    """One row of cells; each has its place as its seed."""
    each = {name: {"plugin": plugin, "config": {"seed": place}} for place, name in enumerate(names)}
    return {"base": {"plugin": plugin, "config": config}, "cells": each, "rows": {"all": list(names)}}


def ended(run: RunDir) -> ExitRecord:
    verdict = launch.wait(run)
    assert verdict is not None
    return verdict


def cell(run: RunDir, name: str) -> RunDir:
    return RunDir(run.root / f"{run.id}.{name}")


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_logged(run: RunDir) -> bool:
    return any(isinstance(event, MetricsLogged) for event in run.events())


def found_by(run: RunDir) -> dict[str, Any]:
    return [event for event in run.events() if isinstance(event, Result)][-1].data


def test_cells_are_runs_below_the_sweep_and_their_figures_its_result(begin: Begin) -> None:
    run = begin("sweep", **cells(*NAMES, steps=2), slots=2)
    assert ended(run).exit_code == 0
    records = [cell(run, name).record() for name in NAMES]
    assert [(record.pipeline, record.stage, record.seed) for record in records] == [
        (run.id, *each) for each in zip(NAMES, range(3), strict=True)
    ]
    sums = [
        event.values["echo/sum"]
        for name in NAMES
        for event in cell(run, name).events()
        if isinstance(event, MetricsLogged)
    ][1::2]
    row = found_by(run)["rows"]["all"]
    assert row["echo/sum"]["mean"] == pytest.approx(sum(sums) / 3) and row["echo/sum"]["seeds"] == 3


def test_stop_reaches_the_cells_and_resume_goes_on_with_the_unfinished_alone(begin: Begin) -> None:
    run = begin("sweep", **cells(*NAMES, steps=15, delay_seconds=0.05))
    until(lambda: cell(run, "b").record_file.exists() and has_logged(cell(run, "b")))
    launch.request(run, Stop())
    assert ended(run).state is State.STOPPED and cell(run, "b").state() is State.STOPPED
    assert not cell(run, "c").path.exists()
    launch.resume(run)
    assert ended(run).exit_code == 0
    assert [ended(cell(run, name)).attempt for name in NAMES] == [1, 2, 1]


def test_a_sweep_that_was_killed_finds_its_cells_at_work(begin: Begin) -> None:
    run = begin("sweep", **cells(*NAMES, steps=30, delay_seconds=0.05), slots=2)
    until(lambda: all(cell(run, name).record_file.exists() and has_logged(cell(run, name)) for name in "ab"))
    launch.send_signal(run, signal.SIGKILL)
    assert ended(run).state is State.KILLED
    launch.resume(run)
    assert ended(run).exit_code == 0
    assert [ended(cell(run, name)).attempt for name in NAMES] == [1, 1, 1]


def test_pause_holds_the_cells(begin: Begin) -> None:
    run = begin("sweep", **cells("a", "b", steps=30, delay_seconds=0.05), slots=2)
    until(lambda: all(cell(run, name).record_file.exists() and has_logged(cell(run, name)) for name in "ab"))
    launch.request(run, Pause())
    until(lambda: {cell(run, name).state() for name in "ab"} == {State.PAUSED})
    launch.resume(run)
    assert ended(run).exit_code == 0


def test_a_killed_cell_is_tried_once_more_from_its_last_checkpoint(begin: Begin) -> None:
    run = begin("sweep", **cells("a", steps=20, delay_seconds=0.05, checkpoint_every=1))
    first = cell(run, "a")
    until(lambda: any(first.checkpoints.glob("step-*")))
    launch.send_signal(first, signal.SIGKILL)
    assert ended(run).exit_code == 0
    assert ended(first).attempt == 2
    logged = [event for event in first.events() if isinstance(event, MetricsLogged) and event.attempt == 2]
    assert logged[0].step > 1


@pytest.mark.usefixtures("troubled")
def test_a_cell_that_fails_twice_is_reported_and_the_others_go_on(begin: Begin) -> None:
    config = cells("bad", "good", plugin="troubled", trouble="diverges")
    config["cells"]["bad"]["config"], config["cells"]["good"]["config"] = {}, {"trouble": "none"}
    run = begin("sweep", **config)
    verdict = ended(run)
    assert verdict.exit_code == 3 and "1 of 2 cells did not finish: bad failed" in verdict.reason
    assert [ended(cell(run, name)).attempt for name in ("bad", "good")] == [2, 1]
    assert found_by(run)["tables"][0]["rows"][0][1] == "1/2"


def test_each_slot_has_its_gpus_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "4,6")
    assert [slot[VISIBLE] for slot in slot_variables(3, 1)] == ["4", "6", "4"]
    assert slot_variables(1, 1) == slot_variables(1, 2) == [{}]
    monkeypatch.setenv(VISIBLE, "0,1,2,3,4")
    assert [slot[VISIBLE] for slot in slot_variables(3, 2)] == ["0,1", "2,3", "4,0"]
    monkeypatch.setenv(VISIBLE, "4")
    assert slot_variables(2, 1) == [{}, {}]


def test_as_many_slots_as_the_gpus_have_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "0,1,2,3,4")
    assert [slot_count(AUTO, processes) for processes in (0, 1, 2, 8)] == [5, 5, 2, 1]
    assert slot_count(3, 2) == 3
    monkeypatch.setenv(VISIBLE, "")
    assert slot_count(AUTO, 1) == 1


def test_a_sweeps_processes_are_those_of_its_cells_or_of_their_stages() -> None:
    asked = AttemptOptions(stage_processes=2, checkpoint_steps=5)
    assert processes_of("ppo", asked) == AttemptOptions(processes=2, checkpoint_steps=5)
    assert processes_of("pipeline", asked) == asked
    with pytest.raises(UserError, match="'echo' works in one process"):
        processes_of("echo", asked)


def test_a_cell_sees_its_slots_variables(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEFT", "as it was")
    run = launch.create_run(root, plugin="echo", config={"delay_seconds": 0.2})
    worker = launch.start(run, variables={VISIBLE: "6"}).worker
    assert worker is not None
    environment = Path(f"/proc/{worker.pid}/environ").read_text().split("\0")
    assert {f"{VISIBLE}=6", "LEFT=as it was"} <= set(environment)
    launch.request(run, Stop())
    ended(run)


MISTAKES = [
    ({"cells": {}, "rows": {}}, "at least one"),
    ({"base": {"plugin": "echo", "config": {"stepss": 1}}}, "Did you mean 'steps'"),
    ({"rows": {"all": ["a", "a"]}}, "each cell must be in one row"),
    ({"cells": {"a": {"plugin": "sft"}}}, "all cells are made by 'echo'"),
]


@pytest.mark.parametrize(("config", "message"), MISTAKES)
def test_mistakes_are_found_before_any_cell_runs(begin: Begin, config: dict[str, Any], message: str) -> None:
    verdict = ended(begin("sweep", **(cells("a") | config)))
    assert verdict.exit_code == 2 and message in verdict.reason
