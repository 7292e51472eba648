"""What the worker gives a trainer: the `Run` of the contract."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from rlhf_sdk.events import (
    Alert,
    Check,
    CheckStatus,
    ChildRun,
    Event,
    Example,
    Note,
    Progress,
    Result,
    Sample,
    Severity,
    StateChanged,
)
from rlhf_sdk.files import PRIVATE_FILE
from rlhf_sdk.journal import Journal
from rlhf_sdk.memory_monitor import MemoryMonitor
from rlhf_sdk.phases import Phases
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from rlhf_sdk.trainer import Interrupted, Interruptible, Metrics, PauseListener, Runtime, UserError
from rlhf_sdk.verdict import Verdict, failed_check_in_words
from rlhf_sdk.whereabouts import Whereabouts
from rlhf_sdk.worker_control import POLL_SECONDS, Control

HEARTBEAT_SECONDS = 1.0
PROGRESS_SECONDS = 0.5


class WorkerRun:
    """Speaks for the trainer, and does at safe points what `control` collected.

    `inside_step` is true within `step` and `finish`, where only a trainer that is `interruptible` can be left;
    `checkpoint` writes a checkpoint for the reason given; `attend` does what commands ask; `failed_check` is the first
    sanity light that failed; `live_values` has the dotted keys that were set.
    """

    def __init__(
        self,
        directory: RunDir,
        *,
        config: Any,
        seed: int,
        runtime: Runtime | None,
        journal: Journal,
        control: Control,
    ) -> None:
        self.config = config
        self.seed = seed
        self.control = control
        self.inside_step = False
        self.interruptible: Interruptible | None = None
        self.checkpoint: Callable[[str], None] | None = None
        self.pause_listener: PauseListener | None = None
        self.failed_check: Check | None = None
        self._told_failed: set[str] = set()
        self.attend: Callable[..., None] | None = None
        self.live_values: dict[str, Any] = {}
        self._undisturbed = False
        self._state = State.STARTING
        self.move: Callable[[Path], None] = lambda place: None
        self._whereabouts = Whereabouts(directory.path)
        self._directory, self._journal = directory, journal
        self._held_seconds = 0.0
        self._beat_at = 0.0
        self._progress_at = 0.0
        self._progress_shown = ""
        self.memory = MemoryMonitor(directory.path, runtime, self.emit, journal.attempt)
        self._phases = Phases(runtime, self.clock, self.memory.phase_ended)
        self.touch()

    @property
    def directory(self) -> Path:
        return self._directory.path

    def close(self) -> None:
        """Lets go of the directory."""
        self._whereabouts.close()

    @property
    def step(self) -> int:
        return self._journal.step

    @property
    def sample_seq(self) -> int:
        """The number of the newest sample."""
        return self._journal.sample_seq

    @property
    def broken_phase(self) -> str:
        """The phase that an error came out of."""
        return self._phases.broken

    def clock(self) -> float:
        """Seconds, standing still while the run is held."""
        return time.perf_counter() - self._held_seconds

    def emit(self, event: Event) -> None:
        self.beat()
        self._journal.event(event)

    def beat(self) -> None:
        """Shows readers that the worker is not stuck, at most once a second."""
        now = time.monotonic()
        if now - self._beat_at >= HEARTBEAT_SECONDS:
            self._beat_at = now
            self.touch()

    def touch(self) -> None:
        if self._whereabouts.moved():
            self._follow()
        self._directory.heartbeat.touch(mode=PRIVATE_FILE)

    def can_leave(self) -> bool:
        """Whether the trainer is in a state that a checkpoint can keep."""
        if self._undisturbed:
            return False
        return not self.inside_step or (self.interruptible is not None and self.interruptible.can_leave())

    def _follow(self) -> None:
        """The directory was moved: what is left of the run goes into the new place, up to a checkpoint.

        Raises `UserError` if it is gone.
        """
        before, place = self._whereabouts.path, self._whereabouts.find()
        if place is None:
            raise UserError(f"the run directory {before} is gone: deleted, or moved to another file system")
        message = f"the run directory was moved while it lived, from {before} to {place}"
        self._whereabouts.path, self._directory = place, RunDir(place)
        self.move(place)
        self.control.wish_end(Verdict(State.STOPPED, 128 + signal.SIGTERM, f"stopped: {message}"))
        self.alert("warning", "moved", message, "`rlhf resume` goes on with it where it is now")

    def safe_point(self) -> None:
        """Does what was asked for; what needs a checkpoint waits until `can_leave`.

        Raises `Interrupted`, after a checkpoint, if the run must end now.
        """
        self.beat()
        if self._undisturbed:
            return
        self.control.poll()
        self._attend(held=False)
        if self.control.paused and self.control.ending is None:
            self._hold()
        if self.control.ending is not None and self.can_leave():
            if self.checkpoint is not None:
                self.checkpoint(self.control.ending.reason)
            raise Interrupted

    def token_point(self) -> None:
        self.safe_point()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Within, safe points only show that the worker lives."""
        self._undisturbed = True
        try:
            yield
        finally:
            self._undisturbed = False

    def enter(self, state: State) -> None:
        """The run is now starting or running."""
        self._state = state
        self.emit(StateChanged(state=state))

    def _attend(self, *, held: bool) -> None:
        if self.attend is not None:
            self.attend(held=held)

    def _hold(self) -> None:
        began = time.perf_counter()
        self.emit(StateChanged(state=State.PAUSED))
        if self.pause_listener is not None:
            self.pause_listener.paused()
        self.control.held()
        while self.control.paused and self.control.ending is None:
            time.sleep(POLL_SECONDS)
            self.beat()
            self.control.poll()
            self._attend(held=True)
        self._held_seconds += time.perf_counter() - began
        if self.pause_listener is not None:
            self.pause_listener.resumed()
        self.emit(StateChanged(state=self._state))
        self.control.going_on()

    def phase(self, name: str) -> AbstractContextManager[None]:
        self.memory.phase_begins(name)
        return self._phases.phase(name)

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        """Recorded at most twice a second, and at the end of whatever was shown before."""
        now = time.monotonic()
        ends_what_was_shown = done == total and self._progress_shown == what
        if now - self._progress_at >= PROGRESS_SECONDS or ends_what_was_shown:
            self._progress_at, self._progress_shown = now, "" if done == total else what
            self.emit(Progress(what=what, done=done, total=total))

    def sample(
        self,
        *,
        tag: str,
        index: int,
        prompt: str,
        response: str,
        reference: str | None = None,
        ended: bool = True,
        metrics: Metrics | None = None,
        token_ends: Sequence[int] = (),
        token_values: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        numbers = {name: float(value) for name, value in (metrics or {}).items()}
        self._journal.sample(
            Sample(
                tag=tag,
                index=index,
                prompt=prompt,
                response=response,
                reference=reference,
                ended=ended,
                metrics=numbers,
                token_ends=list(token_ends),
                token_values={name: list(values) for name, values in (token_values or {}).items()},
            )
        )

    def alert(
        self,
        severity: Severity,
        code: str,
        message: str,
        advice: str = "",
        *,
        figures: Metrics | None = None,
        examples: Sequence[Example] = (),
    ) -> None:
        numbers = {name: float(value) for name, value in (figures or {}).items()}
        said = Alert(
            severity=severity, code=code, message=message, advice=advice, figures=numbers, examples=[*examples]
        )
        self.emit(said)

    def check(self, name: str, status: CheckStatus, figure: float, tolerance: float, explanation: str = "") -> None:
        check = Check(name=name, status=status, figure=figure, tolerance=tolerance, explanation=explanation)
        self.emit(check)
        if status == "fail":
            self.failed_check = self.failed_check or check
            self._alert_failed(check)

    def _alert_failed(self, check: Check) -> None:
        """Once for each light: one that goes on and off again is in the checks."""
        if check.name not in self._told_failed:
            self._told_failed.add(check.name)
            code, figures = f"check_{check.name}", {"figure": check.figure, "tolerance": check.tolerance}
            self.emit(Alert(severity="error", code=code, message=failed_check_in_words(check), figures=figures))

    def note(self, text: str) -> None:
        self.emit(Note(text=text))

    def out_of_memory(self, error: Exception, *, what: str, rows: int, smaller: int | None) -> None:
        self.memory.backed_off(error, self.broken_phase or self._phases.path, what=what, rows=rows, smaller=smaller)

    def result(self, name: str, data: dict[str, Any]) -> None:
        self.emit(Result(name=name, data=data))

    def child(self, stage: str, run_id: str, state: str) -> None:
        self.emit(ChildRun(stage=stage, run_id=run_id, state=state))
