"""What was asked of runs from here, and how far each wish has got: requested, accepted, done, or why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rlhf_sdk import launch
from rlhf_sdk.commands import AnyCommand, Pause, Stop
from rlhf_sdk.events import CommandAcknowledged
from rlhf_sdk.launching import placing
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import RESUMABLE, State
from rlhf_sdk.trainer import UserError

SENDER = "console"
LOOK_BACK = 200
SHOWN_SECONDS = 12.0
FINAL = ("done", "refused", "ignored")


@dataclass
class SentCommand:
    """One wish; `outcome` is the newest word on it, "requested" until the worker has said any.

    `settled`: when that word was a final one, on the clock of `SentCommands`.
    """

    run: RunDir
    what: str
    command_id: str = ""
    outcome: str = "requested"
    message: str = ""
    settled: float | None = None


class SentCommands:
    """Sends commands, and follows their acknowledgements in the runs' events."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sent: list[SentCommand] = []

    def send(self, run: RunDir, command: AnyCommand, what: str) -> SentCommand:
        """Leaves a command for a run; where no process could obey, that is the answer.

        A stop of a run that waits for its turn takes its job back.
        """
        sent = self._new(run, what)
        try:
            if isinstance(command, Stop) and (said := placing.take_back(run)):
                self._say(sent, "done", said)
                return sent
            sent.command_id = launch.request(run, command)
        except UserError as error:
            self._say(sent, "refused", str(error))
        return sent

    def pause_or_resume(self, run: RunDir) -> SentCommand:
        """Holds a run that works, lets go one that is held, and begins a new attempt at one that ended early.

        A new attempt takes a moment to start.
        """
        state = run.state()
        if state is not State.PAUSED and state not in RESUMABLE:
            return self.send(run, Pause(sender=SENDER), "pause")
        sent = self._new(run, "resume")
        try:
            started = launch.resume(run)
        except UserError as error:
            self._say(sent, "refused", str(error))
        else:
            self._say(sent, "done", f"attempt {started.attempt}" if started else "")
        return sent

    def follow(self) -> None:
        """Looks for acknowledgements of what is still open, and forgets what was settled a while ago."""
        waiting = [sent for sent in self._sent if sent.settled is None]
        for run in {sent.run for sent in waiting}:
            answers = [event for event in run.last_events(LOOK_BACK) if isinstance(event, CommandAcknowledged)]
            for answer in answers:
                for sent in waiting:
                    if sent.command_id == answer.command_id:
                        self._say(sent, answer.outcome, answer.message)
        now = self._clock()
        self._sent = [sent for sent in self._sent if sent.settled is None or now - sent.settled < SHOWN_SECONDS]

    @property
    def newest_first(self) -> list[SentCommand]:
        """Those still open, and those settled a moment ago."""
        return self._sent[::-1]

    def _new(self, run: RunDir, what: str) -> SentCommand:
        sent = SentCommand(run, what)
        self._sent.append(sent)
        return sent

    def _say(self, sent: SentCommand, outcome: str, message: str = "") -> None:
        sent.outcome, sent.message = outcome, message
        if outcome in FINAL:
            sent.settled = self._clock()
