"""Run directories that are moved, deleted or copied while they live; attempts with a time limit or their own pace."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rlhf_sdk import launch
from rlhf_sdk.checkpoints import damage, list_checkpoints
from rlhf_sdk.commands import Checkpoint, Pause, Stop
from rlhf_sdk.events import Alert, CheckpointSaved, CommandAcknowledged, MetricsLogged, StateChanged
from rlhf_sdk.liveness import is_alive
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord, RunStatus
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

Begin = Callable[..., RunDir]
Folded = Callable[[RunDir], dict[int, dict[str, float]]]

STEPS, SLOW = 30, 0.1


def ended(run: RunDir) -> ExitRecord:
    verdict = launch.wait(run)
    assert verdict is not None, run.log.read_text()
    return verdict


def wait_for_step(run: RunDir, step: int) -> None:
    deadline = time.monotonic() + 60
    while not any(isinstance(event, MetricsLogged) and event.step >= step for event in run.last_events(50)):
        assert time.monotonic() < deadline, run.log.read_text()
        time.sleep(0.02)


def wait_until_gone(status: RunStatus | None) -> None:
    assert status is not None
    deadline = time.monotonic() + 60
    while is_alive(status.worker) or is_alive(status.shim):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def straight(begin: Begin, folded: Folded) -> dict[int, dict[str, float]]:
    run = begin(steps=STEPS, seed=5)
    ended(run)
    return folded(run)


def test_a_run_that_is_moved_says_so_and_stops_with_a_checkpoint_where_it_is_now(
    begin: Begin, folded: Folded, straight: Any, root: Path
) -> None:
    run = begin(steps=STEPS, seed=5, delay_seconds=SLOW)
    wait_for_step(run, 3)
    place = root / "elsewhere" / "moved"
    place.parent.mkdir()
    moved = RunDir(run.path.rename(place))
    assert moved.state() is State.RUNNING
    wait_until_gone(moved.status())
    assert (ended(moved).state, ended(moved).exit_code, moved.state()) == (State.STOPPED, 143, State.STOPPED)
    assert not run.path.exists()
    (alert,) = [event for event in moved.events() if isinstance(event, Alert)]
    assert (alert.code, str(run.path) in alert.message, str(place) in alert.message) == ("moved", True, True)
    (checkpoint,) = list_checkpoints(moved.checkpoints)
    assert damage(checkpoint) is None
    launch.resume(moved)
    assert ended(moved).exit_code == 0 and folded(moved) == straight


def test_a_run_whose_directory_is_deleted_ends(begin: Begin) -> None:
    run = begin(steps=500, delay_seconds=SLOW)
    wait_for_step(run, 1)
    status = run.status()
    shutil.rmtree(run.path)
    wait_until_gone(status)
    assert not run.path.exists()


def test_a_copy_of_a_living_run_is_lost_and_goes_on_by_itself(
    begin: Begin, folded: Folded, straight: Any, root: Path
) -> None:
    run = begin(steps=STEPS, seed=5, delay_seconds=SLOW, checkpoint_every=2)
    wait_for_step(run, 5)
    launch.request(run, Pause())
    copy = RunDir(Path(shutil.copytree(run.path, root / "copy")))
    assert copy.state() is State.LOST and run.state() in {State.RUNNING, State.PAUSED}
    with pytest.raises(UserError, match="copy is lost: there is no process to obey"):
        launch.request(copy, Stop())
    launch.resume(copy)
    assert ended(copy).state is State.FINISHED and folded(copy) == straight
    assert run.state() is State.PAUSED
    launch.resume(run)
    assert ended(run).state is State.FINISHED and folded(run) == straight
    paused = [event for event in copy.events() if isinstance(event, StateChanged) and event.state == State.PAUSED]
    assert not any(event.attempt == 2 for event in paused)


def test_two_senders_at_once_are_both_answered(begin: Begin) -> None:
    run = begin(steps=500, delay_seconds=SLOW)
    wait_for_step(run, 1)
    ids = [launch.request(run, Checkpoint(sender=f"console {number}")) for number in range(20)]
    stop = launch.request(run, Stop())
    assert ended(run).state is State.STOPPED
    answers = [event for event in run.events() if isinstance(event, CommandAcknowledged)]
    for command in [*ids, stop]:
        outcomes = [answer.outcome for answer in answers if answer.command_id == command]
        assert outcomes in (["accepted", "done"], ["ignored"])
    assert [answer.outcome for answer in answers if answer.command_id == ids[0]] == ["accepted", "done"]


def test_an_attempt_with_a_time_limit_ends_requeued_and_the_next_one_goes_on(
    root: Path, folded: Folded, straight: Any
) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": STEPS, "seed": 5, "delay_seconds": SLOW})
    launch.start(run, AttemptOptions(max_seconds=1.5))
    verdict = ended(run)
    assert (verdict.state, verdict.exit_code) == (State.REQUEUED, 75) and "--max-time" in verdict.reason
    status = run.status()
    assert status is not None and 1.0 < verdict.time - status.started < 5.0
    assert status.options.max_seconds == 1.5
    (checkpoint,) = list_checkpoints(run.checkpoints)
    assert 0 < int(checkpoint.name.removeprefix("step-")) < STEPS
    launch.resume(run)
    assert ended(run).exit_code == 0 and folded(run) == straight


def test_a_held_run_ends_in_time_too(begin: Begin, root: Path) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": 500, "delay_seconds": SLOW})
    launch.start(run, AttemptOptions(max_seconds=3))
    wait_for_step(run, 1)
    launch.request(run, Pause())
    assert ended(run).exit_code == 75
    with pytest.raises(UserError, match="is requeued: there is no process"):
        launch.request(run, Stop())


def periodic(run: RunDir) -> list[tuple[int, float]]:
    return [
        (event.step, event.time)
        for event in run.events()
        if isinstance(event, CheckpointSaved) and event.reason == "periodic"
    ]


def test_an_attempt_checkpoints_at_a_pace_of_its_own(root: Path) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": 12, "delay_seconds": 0.05, "checkpoint_every": 5})
    launch.start(run, AttemptOptions(checkpoint_steps=4))
    ended(run)
    assert [step for step, _ in periodic(run)] == [4, 8, 12]
    timed = launch.create_run(root, plugin="echo", config={"steps": 20, "delay_seconds": 0.1, "checkpoint_every": 1})
    launch.start(timed, AttemptOptions(checkpoint_seconds=0.5))
    ended(timed)
    times = [moment for _, moment in periodic(timed)]
    assert 2 <= len(times) <= 4
    assert all(later - earlier >= 0.45 for earlier, later in pairwise(times))


def test_a_pipeline_hands_its_pace_to_its_stages_and_ends_in_time(root: Path) -> None:
    stages = {"only": {"plugin": "echo", "config": {"steps": 100, "delay_seconds": 0.1}}}
    run = launch.create_run(root, plugin="pipeline", config={"stages": stages})
    launch.start(run, AttemptOptions(max_seconds=4, checkpoint_steps=3))
    verdict = ended(run)
    stage = RunDir(root / f"{run.id}.only")
    assert (verdict.exit_code, ended(stage).state) == (75, State.STOPPED)
    assert [step for step, _ in periodic(stage)][:2] == [3, 6]
