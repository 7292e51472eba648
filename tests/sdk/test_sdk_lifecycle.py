"""A run from its creation to its end, with real processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rlhf_sdk import launch
from rlhf_sdk.checkpoints import damage, list_checkpoints
from rlhf_sdk.commands import Checkpoint, Pause, Resume, Stop, send_command
from rlhf_sdk.events import Alert, CheckpointSaved, CommandAcknowledged, Event, MetricsLogged, Started, StateChanged
from rlhf_sdk.launching.contract import Choice
from rlhf_sdk.liveness import is_alive
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord
from rlhf_sdk.states import State, can_become
from rlhf_sdk.trainer import UserError

Begin = Callable[..., RunDir]
Folded = Callable[[RunDir], dict[int, dict[str, float]]]

STEPS = 20
SLOW = 0.04


def ended(run: RunDir) -> ExitRecord:
    verdict = launch.wait(run)
    assert verdict is not None
    return verdict


def wait_for(run: RunDir, found: Callable[[Event], bool], *, seconds: float = 60.0) -> Event:
    """The first event that `found` accepts."""
    deadline, events = time.monotonic() + seconds, run.events()
    while time.monotonic() < deadline:
        for event in events:
            if found(event):
                return event
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s; {run.log.read_text()}")


def wait_for_step(run: RunDir, step: int) -> None:
    wait_for(run, lambda event: isinstance(event, MetricsLogged) and event.step >= step)


def answers(run: RunDir, command_id: str) -> list[str]:
    found = [event for event in run.events() if isinstance(event, CommandAcknowledged)]
    return [event.outcome for event in found if event.command_id == command_id]


def states(run: RunDir) -> list[State]:
    return [State(event.state) for event in run.events() if isinstance(event, StateChanged)]


@pytest.fixture
def straight(begin: Begin, folded: Folded) -> dict[int, dict[str, float]]:
    """What the run measures when nothing interrupts it."""
    run = begin(steps=STEPS, seed=5)
    assert ended(run).exit_code == 0
    return folded(run)


def test_a_run_to_its_end(begin: Begin, folded: Folded) -> None:
    run = begin(steps=6, checkpoint_every=2, keep_checkpoints=2)
    verdict = ended(run)
    assert (verdict.state, verdict.exit_code, run.state()) == (State.FINISHED, 0, State.FINISHED)
    assert sorted(folded(run)) == [1, 2, 3, 4, 5, 6]
    assert [path.name for path in list_checkpoints(run.checkpoints)] == ["step-00000004", "step-00000006"]
    assert all(damage(path) is None for path in list_checkpoints(run.checkpoints))
    assert states(run) == [State.STARTING, State.RUNNING, State.FINISHED]
    assert [event.seq for event in run.events()] == list(range(1, run.last_events(1)[0].seq + 1))
    assert [sample.index for sample in run.samples()] == [0] * 6
    assert run.machine_file.read_text().count("\n") >= 1
    with pytest.raises(UserError, match="finished"):
        launch.resume(run)
    with pytest.raises(UserError, match="finished"):
        launch.request(run, Stop())


def test_everything_is_private(begin: Begin, root: Path) -> None:
    old = os.umask(0o000)
    try:
        run = begin(steps=2, checkpoint_every=1)
        ended(run)
    finally:
        os.umask(old)
    for path in [root, *root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert run.log.exists() and run.heartbeat.exists()


def test_stop_and_resume_equals_a_straight_run(begin: Begin, folded: Folded, straight: Any) -> None:
    run = begin(steps=STEPS, seed=5, delay_seconds=SLOW)
    wait_for_step(run, 4)
    command = launch.request(run, Stop())
    verdict = ended(run)
    assert (verdict.state, verdict.exit_code, verdict.signal) == (State.STOPPED, 143, None)
    assert answers(run, command) == ["accepted", "done"]
    assert len(list_checkpoints(run.checkpoints)) == 1
    stopped_at = max(folded(run))
    launch.resume(run)
    assert ended(run).exit_code == 0
    resumed = [event for event in run.events() if isinstance(event, Started)][-1]
    assert (resumed.attempt, resumed.resumed_from) == (2, f"step-{stopped_at:08d}")
    assert folded(run) == straight


SIGNALS = [(signal.SIGTERM, 143, "stopped"), (signal.SIGUSR1, 75, "requeued")]


@pytest.mark.parametrize(("number", "code", "state"), SIGNALS)
def test_signals_checkpoint_and_end(
    begin: Begin, folded: Folded, straight: Any, number: signal.Signals, code: int, state: str
) -> None:
    run = begin(steps=STEPS, seed=5, delay_seconds=SLOW)
    wait_for_step(run, 2)
    launch.send_signal(run, number)
    verdict = ended(run)
    assert (verdict.state, verdict.exit_code) == (state, code)
    assert list_checkpoints(run.checkpoints)[-1].name == f"step-{max(folded(run)):08d}"
    launch.resume(run)
    assert ended(run).exit_code == 0 and folded(run) == straight


@pytest.mark.parametrize(("number", "code", "state"), [*SIGNALS, (signal.SIGUSR2, 0, "finished")])
def test_a_signal_before_the_worker_listens_waits_until_it_does(
    begin: Begin, number: signal.Signals, code: int, state: str
) -> None:
    run = begin(steps=5, seed=5, delay_seconds=SLOW)
    assert not run.events_file.exists()
    launch.send_signal(run, number)
    verdict = ended(run)
    assert (verdict.state, verdict.exit_code) == (state, code)


def test_killed_outright_the_run_goes_on_from_its_checkpoint(begin: Begin, folded: Folded, straight: Any) -> None:
    run = begin(steps=STEPS, seed=5, delay_seconds=SLOW, checkpoint_every=3)
    wait_for_step(run, 8)
    launch.send_signal(run, signal.SIGKILL)
    verdict = ended(run)
    assert (verdict.state, verdict.exit_code, verdict.signal) == (State.KILLED, 137, signal.SIGKILL)
    assert "SIGKILL" in verdict.reason and run.state() is State.KILLED
    launch.resume(run)
    assert ended(run).exit_code == 0 and folded(run) == straight


def test_a_signal_to_the_shim_reaches_the_worker(begin: Begin) -> None:
    run = begin(steps=STEPS, delay_seconds=SLOW)
    wait_for_step(run, 1)
    status = run.status()
    assert status is not None
    os.kill(status.shim.pid, signal.SIGHUP)
    os.kill(status.shim.pid, signal.SIGTERM)
    assert ended(run).state is State.STOPPED


def test_without_its_shim_the_worker_goes_on_and_its_last_words_count(begin: Begin) -> None:
    run = begin(steps=20, delay_seconds=SLOW)
    wait_for_step(run, 1)
    status = run.status()
    assert status is not None
    os.kill(status.shim.pid, signal.SIGKILL)
    wait_for_step(run, 20)
    assert (ended(run).state, run.state()) == (State.FINISHED, State.FINISHED)


def test_with_worker_and_shim_gone_the_run_is_lost_and_can_go_on(begin: Begin, folded: Folded, straight: Any) -> None:
    run = begin(steps=STEPS, seed=5, delay_seconds=SLOW, checkpoint_every=2)
    wait_for_step(run, 5)
    status = run.status()
    assert status is not None
    os.kill(status.shim.pid, signal.SIGKILL)
    launch.send_signal(run, signal.SIGKILL)
    assert launch.wait(run) is None and run.state() is State.LOST
    launch.resume(run)
    assert ended(run).exit_code == 0 and folded(run) == straight


@pytest.mark.usefixtures("troubled")
def test_a_second_interrupt_ends_at_once(begin: Begin) -> None:
    run = begin("troubled", trouble="hangs", checkpoint_every=0)
    wait_for_step(run, 1)
    launch.send_signal(run, signal.SIGINT)
    time.sleep(1.0)
    assert run.exit() is None
    launch.send_signal(run, signal.SIGINT)
    verdict = ended(run)
    assert (verdict.state, verdict.exit_code) == (State.STOPPED, 130)
    assert list_checkpoints(run.checkpoints) == []


LAUNCHER = """
import sys, time
from pathlib import Path
from rlhf_sdk import launch
run = launch.create_run(Path(sys.argv[1]), plugin="echo", config={"steps": 20, "delay_seconds": 0.05})
launch.start(run)
print(run.path, flush=True)
time.sleep(60)
"""


def test_the_launchers_terminal_and_death_change_nothing(root: Path) -> None:
    command = [sys.executable, "-c", LAUNCHER, str(root)]
    launcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert launcher.stdout is not None
    run = RunDir(Path(launcher.stdout.readline().strip()))
    os.killpg(launcher.pid, signal.SIGHUP)
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.communicate()
    status = run.status()
    assert status is not None and is_alive(status.worker) and is_alive(status.shim)
    assert ended(run).exit_code == 0


def test_pause_holds_and_resume_goes_on(begin: Begin, folded: Folded, straight: Any) -> None:
    run = begin(steps=STEPS, seed=5, delay_seconds=SLOW)
    wait_for_step(run, 3)
    pause = launch.request(run, Pause())
    wait_for(run, lambda event: isinstance(event, StateChanged) and event.state == State.PAUSED)
    held_at = max(folded(run))
    again = launch.request(run, Pause())
    checkpoint = launch.request(run, Checkpoint())
    time.sleep(1.5)
    assert max(folded(run)) == held_at and run.state() is State.PAUSED
    for asked in ({"options": AttemptOptions(processes=2)}, {"choice": Choice(launcher="slurm")}):
        with pytest.raises(UserError, match="is paused, not ended"):
            launch.resume(run, **asked)
    assert launch.resume(run) is None
    assert ended(run).exit_code == 0 and folded(run) == straight
    assert answers(run, pause) == ["accepted", "done"] and answers(run, again) == ["ignored"]
    assert answers(run, checkpoint) == ["accepted", "done"]
    seen = states(run)
    assert all(can_become(before, after) for before, after in pairwise(seen))
    assert max(event.seconds for event in run.events() if isinstance(event, MetricsLogged)) < 1.0


def test_release_frees_the_process_and_a_stop_reaches_a_paused_run(begin: Begin) -> None:
    run = begin(steps=STEPS, delay_seconds=SLOW)
    wait_for_step(run, 1)
    launch.request(run, Pause(release=True))
    assert (ended(run).state, ended(run).exit_code) == (State.RELEASED, 75)
    launch.resume(run)
    launch.request(run, Pause())
    launch.request(run, Stop())
    assert ended(run).state is State.STOPPED


def test_rubbish_is_refused_and_what_is_needless_is_ignored(begin: Begin) -> None:
    run = begin(steps=500, delay_seconds=SLOW)
    wait_for_step(run, 1)
    (run.commands / "0-rubbish.json").write_text("{")
    wait_for(run, lambda event: isinstance(event, CommandAcknowledged) and event.command_id == "rubbish")
    assert answers(run, "rubbish") == ["refused"] and list(run.commands.iterdir()) == []
    needless = launch.request(run, Resume())
    wait_for(run, lambda event: isinstance(event, CommandAcknowledged) and event.command_id == needless)
    assert answers(run, needless) == ["ignored"]


def test_a_command_for_an_earlier_attempt_is_ignored(begin: Begin) -> None:
    run = begin(steps=20, delay_seconds=SLOW, checkpoint_every=1)
    wait_for_step(run, 2)
    launch.send_signal(run, signal.SIGKILL)
    status = run.status()
    assert status is not None
    stale = Stop(time=status.started)
    ended(run)
    send_command(run.commands, stale)
    launch.resume(run)
    assert ended(run).state is State.FINISHED
    assert answers(run, stale.id) == ["ignored"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(begin: Begin, folded: Folded, straight: Any) -> None:
    run = begin(steps=STEPS, seed=5, delay_seconds=SLOW, checkpoint_every=2, keep_checkpoints=3)
    wait_for(run, lambda event: isinstance(event, CheckpointSaved) and event.step >= 6)
    launch.send_signal(run, signal.SIGKILL)
    ended(run)
    *_, before, newest = list_checkpoints(run.checkpoints)
    file = newest / "model" / "echo.json"
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)
    launch.resume(run)
    assert ended(run).exit_code == 0 and folded(run) == straight
    alerts = [event for event in run.events() if isinstance(event, Alert)]
    assert [alert.code for alert in alerts] == ["checkpoint_damaged"]
    assert newest.name in alerts[0].message and before.name in alerts[0].message


def test_two_resumes_at_once_make_one_attempt(begin: Begin) -> None:
    run = begin(steps=20, delay_seconds=SLOW)
    wait_for_step(run, 1)
    launch.request(run, Stop())
    ended(run)
    refusals: list[UserError] = []

    def resume() -> None:
        try:
            launch.resume(run)
        except UserError as error:
            refusals.append(error)

    threads = [threading.Thread(target=resume) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verdict = ended(run)
    assert (verdict.attempt, verdict.state) == (2, State.FINISHED)
    assert max(event.attempt for event in run.events()) == 2


def test_a_run_can_be_started_once(begin: Begin) -> None:
    run = begin(steps=2)
    with pytest.raises(UserError, match="can't be started"):
        launch.start(run)


def test_a_run_goes_on_after_its_root_has_moved(begin: Begin, folded: Folded, straight: Any, root: Path) -> None:
    run = begin(steps=STEPS, seed=5, delay_seconds=SLOW)
    wait_for_step(run, 2)
    launch.request(run, Stop())
    ended(run)
    moved = RunDir(root.rename(root.with_name("moved")) / run.id)
    launch.resume(moved)
    assert ended(moved).exit_code == 0 and folded(moved) == straight
