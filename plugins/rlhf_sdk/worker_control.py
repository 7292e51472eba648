"""What the worker was asked to do: by signals, and by files in `commands/`."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeVar

from rlhf_sdk.commands import AnyCommand, Checkpoint, Pause, Resume, Stop, pending_files, read_command
from rlhf_sdk.events import CommandAcknowledged
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError
from rlhf_sdk.verdict import Aborted, Verdict

POLL_SECONDS = 0.05
GRACE_SECONDS = 1.0
"""How long a file that is no command may be one that is still being written."""

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
ONE_INTERRUPT_SECONDS = 0.2
"""A scheduler that signals every process of a job reaches the worker twice, once through its shim."""

Outcome = Literal["accepted", "done", "refused", "ignored"]
Acknowledge = Callable[[CommandAcknowledged], None]
Asked = TypeVar("Asked", bound=AnyCommand)


class Control:
    """Collects wishes; the worker fulfils them at safe points.

    A command that lay there before this attempt, and is dated before `since`, its launch, was meant for a worker that
    is gone, and is ignored. `check` raises `UserError` for what this run can't do.
    """

    def __init__(self, commands: Path, acknowledge: Acknowledge, *, since: float) -> None:
        self._commands, self._acknowledge, self._since = commands, acknowledge, since
        self._polled, self._deadline = 0.0, math.inf
        self._interrupted = -math.inf
        self._found_there = {path.name for path in pending_files(commands)}
        self._seen: set[str] = set()
        self._suspects: dict[str, float] = {}
        self._stuck: set[str] = set()
        self._open: list[AnyCommand] = []
        self._held = False
        self._closed = ""
        self.check: Callable[[AnyCommand], None] = lambda command: None
        self.ending: Verdict | None = None
        self.paused = False
        self.checkpoint_reason = ""

    def install_signal_handlers(self) -> None:
        """And hears what came since the shim started this process, which it did with these signals blocked."""
        for number in HEARD:
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        name, now = signal.Signals(number).name, time.monotonic()
        if number == signal.SIGINT:
            again, self._interrupted = now - self._interrupted > ONE_INTERRUPT_SECONDS, now
            if again and self.ending is not None:
                raise Aborted
        if number == signal.SIGUSR2:
            self.wish_checkpoint(name)
        elif number == signal.SIGUSR1:
            self.wish_end(Verdict(State.REQUEUED, ExitCode.REQUEUE, f"checkpointed on {name}: run me again"))
        else:
            self.wish_end(Verdict(State.STOPPED, 128 + number, f"stopped by {name}"))

    def end_after(self, seconds: float, *, already: float) -> None:
        """The attempt ends, with a checkpoint, once it has lasted so long; `already` have passed."""
        self._deadline = time.monotonic() + seconds - already

    def move(self, commands: Path) -> None:
        """Where commands are looked for from now on."""
        self._commands = commands

    def end(self, ending: Verdict) -> None:
        """The run must end; the first reason counts."""
        if self.ending is None:
            self.ending = ending

    def wish_end(self, ending: Verdict) -> None:
        """Somebody outside wants the run to end."""
        self.end(ending)

    def wish_checkpoint(self, reason: str) -> None:
        """Somebody outside wants a checkpoint."""
        self.checkpoint_reason = reason

    def poll(self) -> None:
        """Reads new commands, at most every `POLL_SECONDS`."""
        now = time.monotonic()
        if now - self._polled < POLL_SECONDS:
            return
        self._polled = now
        if now >= self._deadline:
            self.wish_end(Verdict(State.REQUEUED, ExitCode.REQUEUE, "its time (--max-time) is over: run me again"))
        self._take_all()

    def _take_all(self) -> None:
        for path in pending_files(self._commands):
            if path.name not in self._stuck:
                self._take(path)

    def _take(self, path: Path) -> None:
        try:
            command = read_command(path)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            if self._had_its_time(path.name):
                self._say(path.stem.rpartition("-")[2], "unknown", "refused", f"not a command: {error}")
                self._remove(path)
            return
        self._remove(path)
        self._hear(command, found_there=path.name in self._found_there)

    def _had_its_time(self, name: str) -> bool:
        first_seen = self._suspects.setdefault(name, time.monotonic())
        return bool(self._closed) or time.monotonic() - first_seen >= GRACE_SECONDS

    def _remove(self, path: Path) -> None:
        """What can't be removed (a folder, say) is passed over from now on."""
        try:
            path.unlink(missing_ok=True)
        except OSError:
            self._stuck.add(path.name)

    def _hear(self, command: AnyCommand, *, found_there: bool) -> None:
        self._judge(command, found_there=found_there)

    def _judge(self, command: AnyCommand, *, found_there: bool) -> None:
        if command.id in self._seen:
            return self._answer(command, "ignored", "this command was given before")
        self._seen.add(command.id)
        if found_there and command.time < self._since:
            return self._answer(command, "ignored", "given before this attempt began")
        if self._closed:
            return self._answer(command, "ignored", self._closed)
        if self.ending is not None:
            return self._answer(command, "ignored", f"the run is ending: {self.ending.reason}")
        try:
            self.check(command)
        except UserError as error:
            return self._answer(command, "refused", str(error))
        return self._obey(command)

    def _obey(self, command: AnyCommand) -> None:
        match command:
            case Pause(release=False):
                return self._pause(command)
            case Resume():
                return self._resume(command)
            case Stop():
                self.end(Verdict(State.STOPPED, 128 + signal.SIGTERM, "stopped by command"))
            case Pause():
                self.end(
                    Verdict(State.RELEASED, ExitCode.REQUEUE, "checkpointed, the device is free; goes on at resume")
                )
            case Checkpoint():
                self.checkpoint_reason = "command"
        return self._accept(command)

    def _pause(self, command: Pause) -> None:
        if self._held:
            return self._answer(command, "ignored", "the run is paused already")
        self.paused = True
        return self._accept(command)

    def _resume(self, command: Resume) -> None:
        if not self.paused:
            return self._answer(command, "ignored", "the run is not paused")
        self.paused = False
        for overtaken in self.asked(Pause):
            self.answer(overtaken, "ignored", "resumed before it was held")
        return self._accept(command)

    def _accept(self, command: AnyCommand) -> None:
        self._open.append(command)
        self._answer(command, "accepted")

    def asked(self, kind: type[Asked]) -> list[Asked]:
        """Commands of a kind that were accepted and not yet answered for good, in their order."""
        return [command for command in self._open if isinstance(command, kind)]

    def answer(
        self, command: AnyCommand, outcome: Outcome, message: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        """The last word on a command that was accepted."""
        self._open.remove(command)
        self._answer(command, outcome, message, details)

    def held(self) -> None:
        """The run is held now."""
        self._held = True
        for command in self.asked(Pause):
            if not command.release:
                self.answer(command, "done")

    def going_on(self) -> None:
        """The run is no longer held."""
        self._held = False
        for command in self.asked(Resume):
            self.answer(command, "done")

    def checkpointed(self, name: str) -> None:
        """A checkpoint was written: what asked for one is done."""
        self.checkpoint_reason = ""
        for command in list(self._open):
            match command:
                case Checkpoint() | Stop() | Pause(release=True):
                    self.answer(command, "done", name, {"checkpoint": name})

    def ignore_the_rest(self, reason: str, *, left: bool = False) -> None:
        """At the end: nothing stays unanswered. `left`: the run ends because it was asked to."""
        for command in list(self._open):
            match command:
                case Stop() | Pause(release=True) if left:
                    self.answer(command, "done", "ended before there was anything to checkpoint")
                case _:
                    self.answer(command, "ignored", reason)
        self._closed = reason
        self._take_all()

    def _answer(
        self, command: AnyCommand, outcome: Outcome, message: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        self._say(command.id, str(command.__struct_config__.tag), outcome, message, details)

    def _say(
        self, command_id: str, command: str, outcome: Outcome, message: str, details: Mapping[str, Any] | None = None
    ) -> None:
        self._acknowledge(
            CommandAcknowledged(
                command_id=command_id, command=command, outcome=outcome, message=message, details=dict(details or {})
            )
        )
