"""What a person asked of a run, from the command to what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rlhf_console.runs.store import LiveRun
from rlhf_sdk import launch
from rlhf_sdk.asking import Asking
from rlhf_sdk.commands import AnyCommand, Stop
from rlhf_sdk.events import Sample
from rlhf_sdk.launching import placing
from rlhf_sdk.states import ENDED, LIVE, State
from rlhf_sdk.trainer import UserError

POLL_SECONDS = 0.05
TELL_AFTER_SECONDS = 3.0


class Asked:
    """One command to one run, from asking to its last word; `ends`: it is done when the run has ended."""

    def __init__(self, run: LiveRun, command: AnyCommand, *, ends: bool = False) -> None:
        self.run, self.command, self.ends = run, command, ends
        self.name = str(command.__struct_config__.tag)
        self.asking: Asking | None = None
        self.outcome, self.message = "", ""

    def send(self) -> None:
        """A stop of a run that waits for its turn takes its job back."""
        try:
            if isinstance(self.command, Stop) and (said := placing.take_back(self.run.directory)):
                self.outcome, self.message = "done", said
                return
            self.asking = Asking(self.run.directory, self.command)
        except UserError as error:
            self.outcome, self.message = "refused", str(error)

    def settled(self) -> bool:
        """Whether there is nothing more to wait for."""
        if self.outcome:
            return True
        assert self.asking is not None, "it was sent, or it has an outcome"
        if not self.asking.settled() or (self.ends and self._goes_on()):
            return False
        answer = self.asking.answer
        if answer is None or (answer.outcome == "accepted" and self.state not in LIVE):
            self.outcome, self.message = "ignored", f"the run ended before it could: {self.state}"
        else:
            self.outcome = answer.outcome
            self.message = answer.message or ("done when the run goes on" if answer.outcome == "accepted" else "")
        return True

    def _goes_on(self) -> bool:
        assert self.asking is not None
        obeyed = self.asking.answer is not None and self.asking.answer.outcome == "done"
        return obeyed and launch.verdict(self.run.directory) is None and self.state is not State.LOST

    @property
    def state(self) -> State:
        return self.run.state

    @property
    def details(self) -> dict[str, Any]:
        return self.asking.answer.details if self.asking is not None and self.asking.answer is not None else {}

    @property
    def failed(self) -> bool:
        """Refused, or not obeyed because the run has ended."""
        needless = self.outcome == "ignored" and self.state not in ENDED and self.state is not State.LOST
        return not (self.outcome in ("done", "accepted", "") or needless)

    def samples(self) -> Iterator[Sample]:
        """What was sampled on request, from `samples.jsonl`."""
        first, last = self.details.get("sample_seq", (1, 0))
        return (sample for sample in self.run.directory.samples() if first <= sample.seq <= last)


def wait_for_all(asked: Sequence[Asked]) -> None:
    """Until each has its outcome; says on stderr whom it waits for when that takes long."""
    began, told = time.monotonic(), False
    while waiting := [each for each in asked if not each.settled()]:
        if not told and time.monotonic() - began > TELL_AFTER_SECONDS:
            told = True
            for each in waiting:
                print(f"waiting for {each.run.record.id} ({each.state}) to {each.name}", file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)
