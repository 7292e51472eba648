"""What the worker was asked to do: by signals, and by files in `commands/`."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Literal

from rlhf_sdk.commands import AnyCommand, Checkpoint, Pause, Resume, Stop, pending_files, read_command
from rlhf_sdk.events import CommandAcknowledged
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.states import State
from rlhf_sdk.verdict import Aborted, Verdict

POLL_SECONDS = 0.05

Outcome = Literal["accepted", "done", "refused", "ignored"]
Acknowledge = Callable[[CommandAcknowledged], None]


class Control:
    """Collects wishes; the worker fulfils them at safe points.

    `since` is when this attempt was launched: older commands were meant for a worker that is gone, and are ignored.
    """

    def __init__(self, commands: Path, acknowledge: Acknowledge, *, since: float) -> None:
        self._commands, self._acknowledge, self._since = commands, acknowledge, since
        self._polled = 0.0
        self._open: list[AnyCommand] = []
        self._closed = ""
        self.ending: Verdict | None = None
        self.paused = False
        self.checkpoint_reason = ""

    def install_signal_handlers(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGINT and self.ending is not None:
            raise Aborted
        if number == signal.SIGUSR2:
            self.checkpoint_reason = name
        elif number == signal.SIGUSR1:
            self._end(Verdict(State.REQUEUED, ExitCode.REQUEUE, f"checkpointed on {name}: run me again"))
        else:
            self._end(Verdict(State.STOPPED, 128 + number, f"stopped by {name}"))

    def _end(self, ending: Verdict) -> None:
        if self.ending is None:
            self.ending = ending

    def poll(self) -> None:
        """Reads new commands, at most every `POLL_SECONDS`."""
        now = time.monotonic()
        if now - self._polled < POLL_SECONDS:
            return
        self._polled = now
        for path in pending_files(self._commands):
            self._take(path)

    def _take(self, path: Path) -> None:
        try:
            command = read_command(path)
        except ValueError as error:
            self._say(path.stem.rpartition("-")[2], "unknown", "refused", f"not a command: {error}")
        else:
            if command.time < self._since:
                self._answer(command, "ignored", "given before this attempt began")
            elif self._closed:
                self._answer(command, "ignored", self._closed)
            else:
                self._obey(command)
        path.unlink(missing_ok=True)

    def _obey(self, command: AnyCommand) -> None:
        if self.ending is not None:
            return self._answer(command, "ignored", f"the run is ending: {self.ending.reason}")
        match command:
            case Stop():
                self._accept(command)
                self._end(Verdict(State.STOPPED, 128 + signal.SIGTERM, "stopped by command"))
            case Pause(release=True):
                self._accept(command)
                self._end(Verdict(State.RELEASED, ExitCode.REQUEUE, "released: checkpointed, goes on at resume"))
            case Checkpoint():
                self._accept(command)
                self.checkpoint_reason = "command"
            case Pause():
                self._pause(command)
            case Resume():
                self._resume(command)
            case _:
                self._answer(command, "refused", "this version can't do that yet")
        return None

    def _pause(self, command: Pause) -> None:
        if self.paused:
            return self._answer(command, "ignored", "the run is paused already")
        self.paused = True
        return self._answer(command, "done")

    def _resume(self, command: Resume) -> None:
        if not self.paused:
            return self._answer(command, "ignored", "the run is not paused")
        self.paused = False
        return self._answer(command, "done")

    def _accept(self, command: AnyCommand) -> None:
        self._open.append(command)
        self._answer(command, "accepted")

    def checkpointed(self, name: str) -> None:
        """A checkpoint was written: what asked for one is done."""
        self.checkpoint_reason = ""
        for command in self._open:
            self._answer(command, "done", name)
        self._open.clear()

    def ignore_the_rest(self, reason: str) -> None:
        """At the end: nothing stays unanswered."""
        for command in self._open:
            self._answer(command, "ignored", reason)
        self._open.clear()
        self._closed = reason
        for path in pending_files(self._commands):
            self._take(path)

    def _answer(self, command: AnyCommand, outcome: Outcome, message: str = "") -> None:
        self._say(command.id, str(command.__struct_config__.tag), outcome, message)

    def _say(self, command_id: str, command: str, outcome: Outcome, message: str) -> None:
        answer = CommandAcknowledged(command_id=command_id, command=command, outcome=outcome, message=message)
        self._acknowledge(answer)
