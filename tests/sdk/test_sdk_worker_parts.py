"""Parts of the worker by themselves: phases, control, progress, verdicts; and what the SDK imports."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rlhf_sdk import worker_run
from rlhf_sdk.commands import AnyCommand, Checkpoint, Pause, Resume, SetValue, Stop, send_command
from rlhf_sdk.events import CommandAcknowledged, PhaseEnded, Progress
from rlhf_sdk.journal import Journal
from rlhf_sdk.phases import Phases
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from rlhf_sdk.trainer import Interrupted, RunFailure, UserError
from rlhf_sdk.verdict import Aborted, verdict_of
from rlhf_sdk.worker_control import Control
from rlhf_sdk.worker_run import WorkerRun


class Device:
    """A device with one peak counter, as torch has it."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def use(self, amount: int) -> None:
        self.now += amount
        self.peak = max(self.peak, self.now)

    def start(self, seed: int) -> None: ...

    def remember_rng(self) -> None: ...

    def save_rng(self, directory: Path) -> None: ...

    def load_rng(self, directory: Path) -> None: ...

    def memory(self) -> dict[str, int]:
        return {"rss": 1, "allocated": self.now, "peak": self.peak}

    def reset_peak(self) -> None:
        self.peak = self.now

    def environment(self) -> dict[str, str]:
        return {}

    def is_out_of_memory(self, error: BaseException) -> bool:
        return "full" in str(error)

    def release_cache(self) -> None: ...

    def memory_snapshot(self) -> dict[str, int]:
        return {}


def test_each_phase_knows_its_own_peak_nested_ones_too() -> None:
    device, ended = Device(), list[PhaseEnded]()
    ticks = iter(range(100))
    phases = Phases(device, lambda: float(next(ticks)), ended.append)
    device.use(100)
    device.use(-100)
    with phases.phase("update"):
        device.use(10)
        with phases.phase("forward"):
            device.use(50)
            device.use(-40)
        with phases.phase("forward"), phases.phase("forward"):
            device.use(5)
    with phases.phase("rollout"):
        device.use(-20)
    assert [event.name for event in ended] == ["update/forward", "update/forward/forward", "update", "rollout"]
    assert [event.memory["peak"] for event in ended] == [60, 25, 60, 25]
    assert [event.seconds for event in ended] == [4.0, 1.0, 7.0, 1.0]
    assert [event.count for event in ended] == [2, 1, 1, 1]


def test_the_innermost_phase_of_an_error_is_remembered() -> None:
    ended: list[PhaseEnded] = []
    phases = Phases(None, lambda: 0.0, ended.append)
    with pytest.raises(ValueError, match="x"), phases.phase("update"), phases.phase("backward"):
        raise ValueError("x")
    assert phases.broken == "update/backward"
    assert [(event.name, event.memory) for event in ended] == [("update/backward", {}), ("update", {})]


def test_an_error_that_was_recovered_from_is_forgotten() -> None:
    phases = Phases(None, lambda: 0.0, lambda event: None)
    with phases.phase("update"):
        with suppress(ValueError), phases.phase("backward"):
            raise ValueError("x")
        assert (phases.broken, phases.path) == ("update/backward", "update")
    assert phases.broken == ""


def answered(said: list[CommandAcknowledged]) -> list[tuple[str, str]]:
    return [(event.command_id, event.outcome) for event in said]


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Control, list[CommandAcknowledged]]:
    monkeypatch.setattr("rlhf_sdk.worker_control.POLL_SECONDS", 0.0)
    said: list[CommandAcknowledged] = []
    return Control(tmp_path, said.append, since=10.0), said


def test_commands_are_obeyed_in_order_and_each_is_answered(
    tmp_path: Path, control: tuple[Control, list[CommandAcknowledged]]
) -> None:
    worker, said = control

    def refuse_values(command: AnyCommand) -> None:
        if isinstance(command, SetValue):
            raise UserError("unknown key 'lr'")

    worker.check = refuse_values
    pause = Pause(time=13.0)
    given: list[tuple[AnyCommand, str]] = [
        (Stop(time=10.5), "accepted"),
        (Stop(time=11.0), "ignored"),
        (Resume(time=12.0), "ignored"),
    ]
    before: list[tuple[AnyCommand, str]] = [
        (Resume(time=12.0), "ignored"),
        (pause, "accepted"),
        (SetValue(time=14.0, key="lr", value=1), "refused"),
        (Checkpoint(time=16.0), "accepted"),
    ]
    for command, _ in reversed(before):
        send_command(tmp_path, command)
    worker.poll()
    assert answered(said) == [(command.id, want) for command, want in before]
    said.clear()
    worker.held()
    again, resume = Pause(time=17.0), Resume(time=18.0)
    send_command(tmp_path, again)
    send_command(tmp_path, resume)
    worker.poll()
    assert not worker.paused
    worker.going_on()
    wanted = [(pause.id, "done"), (again.id, "ignored"), (resume.id, "accepted"), (resume.id, "done")]
    assert answered(said) == wanted
    said.clear()
    for command, _ in given:
        send_command(tmp_path, command)
    worker.poll()
    assert answered(said) == [(command.id, want) for command, want in given]
    assert list(tmp_path.iterdir()) == []
    assert worker.ending is not None and worker.ending.state is State.STOPPED
    assert worker.checkpoint_reason == "command"
    said.clear()
    worker.checkpointed("step-00000003")
    assert [(event.command, event.outcome, event.message) for event in said] == [
        ("checkpoint", "done", "step-00000003"),
        ("stop", "done", "step-00000003"),
    ]


def test_a_command_of_a_worker_that_is_gone_is_ignored_whatever_the_clock_says(tmp_path: Path) -> None:
    said: list[CommandAcknowledged] = []
    old, early, late = Stop(time=9.0), Checkpoint(time=11.0), Checkpoint(time=9.5)
    send_command(tmp_path, old)
    send_command(tmp_path, early)
    worker = Control(tmp_path, said.append, since=10.0)
    send_command(tmp_path, late)
    worker.poll()
    assert answered(said) == [(old.id, "ignored"), (late.id, "accepted"), (early.id, "accepted")]
    assert worker.ending is None


def test_the_same_command_twice_is_obeyed_once(
    tmp_path: Path, control: tuple[Control, list[CommandAcknowledged]]
) -> None:
    worker, said = control
    pause = Pause(time=11.0)
    for again in (pause, pause, Pause(id=pause.id, time=12.0)):
        send_command(tmp_path, again)
        worker.poll()
    assert answered(said) == [(pause.id, "accepted"), (pause.id, "ignored"), (pause.id, "ignored")]


def test_a_resume_that_overtakes_a_pause_answers_both(
    tmp_path: Path, control: tuple[Control, list[CommandAcknowledged]]
) -> None:
    worker, said = control
    pause, resume = Pause(time=11.0), Resume(time=12.0)
    send_command(tmp_path, pause)
    send_command(tmp_path, resume)
    worker.poll()
    worker.going_on()
    assert not worker.paused
    assert answered(said)[1:] == [(pause.id, "ignored"), (resume.id, "accepted"), (resume.id, "done")]


def test_rubbish_is_refused_once_when_it_had_time_to_become_a_command(
    tmp_path: Path, control: tuple[Control, list[CommandAcknowledged]], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, said = control
    (tmp_path / "1-half.json").write_text('{"command": "chec')
    (tmp_path / "2-folder.json").mkdir()
    os.mkfifo(tmp_path / "3-pipe.json")
    (tmp_path / "4-link.json").symlink_to("/dev/zero")
    (tmp_path / "5-huge.json").write_bytes(b" " * (2 << 20))
    (tmp_path / "6-other.json").write_text('{"command": "dance"}')
    (tmp_path / "7-list.json").write_text("[]")
    worker.poll()
    assert said == []
    (tmp_path / "1-half.json").write_text('{"command": "checkpoint"}')
    monkeypatch.setattr("rlhf_sdk.worker_control.GRACE_SECONDS", 0.0)
    worker.poll()
    worker.poll()
    assert said[0].command == "checkpoint"
    names = ["folder", "pipe", "link", "huge", "other", "list"]
    assert answered(said) == [("half", "accepted"), *((name, "refused") for name in names)]
    assert [path.name for path in tmp_path.iterdir()] == ["2-folder.json"]


def test_what_is_left_at_the_end_is_answered(
    tmp_path: Path, control: tuple[Control, list[CommandAcknowledged]]
) -> None:
    worker, said = control
    (tmp_path / "0-x.json").write_text("rubbish")
    late = send_command(tmp_path, Checkpoint())
    worker.ignore_the_rest("the run ended: finished")
    assert [(event.command_id, event.outcome) for event in said] == [("x", "refused"), (late, "ignored")]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def run(tmp_path: Path) -> WorkerRun:
    directory = RunDir(tmp_path)
    journal = Journal(directory.events_file, directory.samples_file, attempt=1)
    control = Control(directory.commands, journal.event, since=0.0)
    return WorkerRun(directory, config=None, seed=0, runtime=None, journal=journal, control=control)


def test_progress_is_throttled_but_ends_visibly(run: WorkerRun, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0 + 0.1 * tick for tick in range(100)])
    monkeypatch.setattr("rlhf_sdk.worker_run.time.monotonic", lambda: next(now))
    for done in range(1, 9):
        run.progress("posts", done, 8)
    shown = [event.done for event in RunDir(run.directory).events() if isinstance(event, Progress)]
    assert shown[0] == 1 and shown[-1] == 8 and len(shown) < 6


def test_a_step_is_left_only_where_the_trainer_allows(run: WorkerRun) -> None:
    saved: list[str] = []

    def attend(*, held: bool) -> None:
        if run.control.checkpoint_reason and run.can_leave():
            checkpoint(run.control.checkpoint_reason)

    def checkpoint(reason: str) -> None:
        saved.append(reason)
        run.control.checkpointed("step-00000000")

    class Trainer:
        ready = False

        def can_leave(self) -> bool:
            return self.ready

    run.checkpoint, run.attend, run.inside_step = checkpoint, attend, True
    send_command(run.control._commands, Checkpoint())
    send_command(run.control._commands, Stop())
    run.safe_point()
    run.interruptible = Trainer()
    run.safe_point()
    assert run.control.ending is not None and saved == []
    run.interruptible.ready = True
    with pytest.raises(Interrupted):
        run.safe_point()
    assert saved == ["command", "stopped by command"]


VERDICTS = [
    (UserError("no such file"), State.FAILED, 2),
    (RunFailure("stage x failed", exit_code=137), State.FAILED, 137),
    (OSError(errno.ENOSPC, "No space left on device"), State.FAILED, 2),
    (RuntimeError("I/O error: No space left on device (os error 28)"), State.FAILED, 2),
    (PermissionError(errno.EACCES, "Permission denied"), State.FAILED, 2),
    (FileNotFoundError(errno.ENOENT, "No such file"), State.FAILED, 3),
    (MemoryError(), State.OOM, 5),
    (RuntimeError("device full"), State.OOM, 5),
    (KeyError("x"), State.FAILED, 3),
    (SystemExit(0), State.FAILED, 3),
    (Aborted(), State.STOPPED, 130),
]


@pytest.mark.parametrize(("error", "state", "code"), VERDICTS, ids=[repr(row[0]) for row in VERDICTS])
def test_what_an_error_means(error: BaseException, state: State, code: int) -> None:
    verdict = verdict_of(error, Device(), "rollout")
    assert (verdict.state, verdict.exit_code) == (state, code)
    assert verdict.reason and "\n" not in verdict.reason


MODULES = sorted(path.stem for path in Path(worker_run.__file__).parent.glob("*.py") if path.stem != "__init__")
HEAVY = ("torch", "numpy", "transformers", "rich", "textual", "rlhf_engine", "rlhf_plugins", "rlhf_console")


def test_the_sdk_imports_nothing_heavy() -> None:
    statements = "".join(f"import rlhf_sdk.{module}\n" for module in MODULES)
    code = f"import sys\n{statements}print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(MODULES) > 20 and done.stdout.strip() == "[]"


def test_an_echo_runs_without_torch(begin: Callable[..., RunDir]) -> None:
    run = begin(steps=50, delay_seconds=0.05)
    status = run.status()
    assert status is not None and status.worker is not None
    maps = Path(f"/proc/{status.worker.pid}/maps")
    while not run.last_events(1):
        pass
    assert "torch" not in maps.read_text() and "numpy" not in maps.read_text()
