"""A command given to a run, and what comes back: for everyone who wants to know whether it was obeyed."""

from __future__ import annotations

import time

from rlhf_sdk import launch
from rlhf_sdk.commands import AnyCommand, withdraw_command
from rlhf_sdk.events import CommandAcknowledged, decode_event
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import ENDED, State
from rlhf_sdk.tail import Tail

HELD_SECONDS = 2.0
"""What is accepted and not done within this time of a run that is held waits until it goes on."""


class Asking:
    """Sends one command when it is made. Raises `UserError` if the run has no process that could obey."""

    def __init__(self, run: RunDir, command: AnyCommand) -> None:
        self.run, self.command = run, command
        self.answer: CommandAcknowledged | None = None
        self._answers: Tail[CommandAcknowledged | None] = Tail(run.events_file, _acknowledgement)
        self._answers.skip_to_end()
        self._held_since: float | None = None
        launch.request(run, command)

    def settled(self) -> bool:
        """Whether nothing more is to be waited for; `answer` is the newest then, None if the run ended without one."""
        state = self.run.state()
        self._listen()
        if self.answer is not None and self.answer.outcome != "accepted":
            return True
        if state in ENDED or state is State.LOST:
            withdraw_command(self.run.commands, self.command)
            return True
        return self.answer is not None and self._held_for(state) >= HELD_SECONDS

    def _listen(self) -> None:
        for event in self._answers:
            if event is not None and event.command_id == self.command.id:
                final = self.answer is not None and self.answer.outcome != "accepted"
                self.answer = self.answer if final else event

    def _held_for(self, state: State) -> float:
        now = time.monotonic()
        self._held_since = (self._held_since or now) if state is State.PAUSED else None
        return now - self._held_since if self._held_since is not None else 0.0


def _acknowledgement(line: bytes) -> CommandAcknowledged | None:
    event = decode_event(line) if b'"kind":"ack"' in line else None
    return event if isinstance(event, CommandAcknowledged) else None
