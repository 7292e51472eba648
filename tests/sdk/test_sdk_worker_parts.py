"""Parts of the worker by themselves: phases, control, progress, verdicts; and what the SDK imports."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
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

    def is_out_of_memory(self, error: BaseException) -> bool:
        return "full" in str(error)


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
    names = ["update/forward", "update/forward/forward", "update/forward", "update", "rollout"]
    assert [event.name for event in ended] == names
    assert [event.memory["peak"] for event in ended] == [60, 25, 25, 60, 25]
    assert [event.seconds for event in ended] == [1.0, 1.0, 3.0, 7.0, 1.0]


def test_the_innermost_phase_of_an_error_is_remembered() -> None:
    ended: list[PhaseEnded] = []
    phases = Phases(None, lambda: 0.0, ended.append)
    with pytest.raises(ValueError, match="x"), phases.phase("update"), phases.phase("backward"):
        raise ValueError("x")
    assert phases.broken == "update/backward"
    assert [(event.name, event.memory) for event in ended] == [("update/backward", {}), ("update", {})]


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Control, list[CommandAcknowledged]]:
    monkeypatch.setattr("rlhf_sdk.worker_control.POLL_SECONDS", 0.0)
    said: list[CommandAcknowledged] = []
    return Control(tmp_path, said.append, since=10.0), said


def test_commands_are_obeyed_in_order_and_each_is_answered(
    tmp_path: Path, control: tuple[Control, list[CommandAcknowledged]]
) -> None:
    worker, said = control
    given: list[tuple[AnyCommand, str]] = [
        (Stop(time=9.0), "ignored"),
        (Resume(time=11.0), "ignored"),
        (Pause(time=12.0), "done"),
        (Pause(time=13.0), "ignored"),
        (SetValue(time=14.0, key="lr", value=1), "refused"),
        (Resume(time=15.0), "done"),
        (Checkpoint(time=16.0), "accepted"),
        (Stop(time=17.0), "accepted"),
        (Stop(time=18.0), "ignored"),
    ]
    for command, _ in reversed(given):
        send_command(tmp_path, command)
    worker.poll()
    assert [(event.command_id, event.outcome) for event in said] == [(command.id, want) for command, want in given]
    assert list(tmp_path.iterdir()) == []
    assert worker.ending is not None and worker.ending.state is State.STOPPED and not worker.paused
    assert worker.checkpoint_reason == "command"
    said.clear()
    worker.checkpointed("step-00000003")
    assert [(event.command, event.outcome, event.message) for event in said] == [
        ("checkpoint", "done", "step-00000003"),
        ("stop", "done", "step-00000003"),
    ]


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

    def checkpoint(reason: str) -> None:
        saved.append(reason)
        run.control.checkpointed("step-00000000")

    class Trainer:
        ready = False

        def can_leave(self) -> bool:
            return self.ready

    run.checkpoint, run.inside_step = checkpoint, True
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
