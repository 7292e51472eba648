"""Control of a run of several ranks: rank 0 hears, and all obey at the same safe point."""

from __future__ import annotations

from pathlib import Path

import msgspec

from rlhf_sdk.commands import AnyCommand
from rlhf_sdk.ranked.link import RankLink
from rlhf_sdk.verdict import Verdict
from rlhf_sdk.worker_control import Acknowledge, Control

NOTHING, SOMETHING, NO_MEMORY = 0, 1, 2


class Wishes(msgspec.Struct):
    """What rank 0 has heard since the last meeting."""

    commands: list[AnyCommand] = []
    ending: Verdict | None = None
    checkpoint_reason: str = ""
    paused: bool = False

    def __bool__(self) -> bool:
        return bool(self.commands or self.ending or self.checkpoint_reason or self.paused)


class SharedControl(Control):
    """Before `share` rank 0 obeys at once, and the others hear nothing; afterwards `poll` is a meeting of all ranks."""

    def __init__(self, commands: Path, acknowledge: Acknowledge, *, since: float, leads: bool) -> None:
        super().__init__(commands, acknowledge, since=since)
        self._leads = leads
        self._link: RankLink | None = None
        self._wishes = Wishes()

    def share(self, link: RankLink) -> None:
        """From now on all ranks obey together, also what rank 0 has heard until now and not yet done."""
        self._link = link
        self._wishes.ending, self.ending = self.ending or self._wishes.ending, None
        self._wishes.checkpoint_reason, self.checkpoint_reason = self.checkpoint_reason, ""
        self._wishes.paused, self.paused = self.paused, False

    def poll(self) -> None:
        """Raises `OthersShortOfMemory` where another rank ran out of memory."""
        if self._leads:
            super().poll()
        if self._link is None:
            return
        short = self._meet(SOMETHING if self._wishes else NOTHING)
        if short:
            raise OthersShortOfMemory(short)

    def ran_out_of_memory(self) -> None:
        """Tells the others, at the safe point that they reach next."""
        if self._link is not None:
            self._meet(NO_MEMORY)

    def _meet(self, said: int) -> list[int]:
        """Obeys what was wished for; returns the ranks that ran out of memory."""
        assert self._link is not None, "only ranks that share meet"
        answers = self._link.meet(said)
        if answers[0] == SOMETHING:
            self._obey_all(msgspec.json.decode(self._link.tell(msgspec.json.encode(self._wishes)), type=Wishes))
        return [rank for rank, answer in enumerate(answers) if answer == NO_MEMORY]

    def _obey_all(self, wishes: Wishes) -> None:
        self._wishes = Wishes()
        for command in wishes.commands:
            self._judge(command, found_there=False)
        if wishes.ending is not None:
            self.end(wishes.ending)
        self.checkpoint_reason = wishes.checkpoint_reason or self.checkpoint_reason
        self.paused = self.paused or wishes.paused

    def wish_end(self, ending: Verdict) -> None:
        if self._link is None:
            super().wish_end(ending)
        else:
            self._wishes.ending = self._wishes.ending or ending

    def wish_checkpoint(self, reason: str) -> None:
        if self._link is None:
            super().wish_checkpoint(reason)
        else:
            self._wishes.checkpoint_reason = reason

    def _hear(self, command: AnyCommand, *, found_there: bool) -> None:
        stale = found_there and command.time < self._since
        if self._link is None or stale or self._closed:
            super()._hear(command, found_there=found_there)
        else:
            self._wishes.commands.append(command)


class OthersShortOfMemory(MemoryError):
    """Other `ranks` ran out of memory: this one does what it does when it runs out itself."""

    def __init__(self, ranks: list[int]) -> None:
        super().__init__(f"out of memory on rank {', '.join(map(str, ranks))}")
        self.ranks = ranks
