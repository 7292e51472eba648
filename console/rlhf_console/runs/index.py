"""All runs of a root, for a list that stays current: thousands of them, at the cost of the few that change."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

from rlhf_console.runs.glance import Glance, read_heading
from rlhf_sdk.launching import placing
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import is_run_id
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

RECORDS_AT_ONCE = 20
SLICE_SECONDS = 0.005
CHECKED_AGAIN = 100
"""Ended runs, of all, that are looked at again in each round: they may have been resumed."""
ASK_SECONDS = 30.0
ROUND_SECONDS = 0.2
"""What a round spends on new runs, and on those that nobody sees."""


class RunIndex:
    """Runs, newest first. `version` is another whenever there are other runs; `waiting` are names of those
    that were not read yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unreadable: dict[str, str] = {}
        self.version = 0
        self.waiting: list[str] = []
        self._runs: dict[str, Glance] = {}
        self._ordered: list[Glance] = []
        self._next = 0
        self._breath = 0.0
        self._asked = -ASK_SECONDS
        self._asking: asyncio.Task[None] | None = None

    @property
    def runs(self) -> Sequence[Glance]:
        return self._ordered

    async def refresh(self, in_sight: Iterable[Glance] = ()) -> bool:
        """One round: new runs for a moment, those in sight, and of the others, once all are found, for a moment the
        states; yields in between. True if there is more to be known.
        """
        self._ask_schedulers()
        await self._open_new(time.monotonic() + ROUND_SECONDS)
        seen = {run.record.id for run in in_sight}
        for run in [self._runs[run_id] for run_id in seen if run_id in self._runs]:
            self._look(run, closely=True)
            await self._breathe()
        if self.waiting:
            return True
        until = time.monotonic() + ROUND_SECONDS
        for run in self._others(seen):
            self._look(run, closely=False)
            await self._breathe()
            if time.monotonic() > until:
                break
        return any(run.state is None for run in self._ordered)

    def _ask_schedulers(self) -> None:
        """What became of runs that wait for their turn; beside the rest, for a scheduler may take its time."""
        waiting = [run.directory for run in self._ordered if run.state is State.QUEUED]
        if waiting and time.monotonic() - self._asked >= ASK_SECONDS:
            self._asked = time.monotonic()
            self._asking = asyncio.create_task(_look_after(waiting))

    async def _breathe(self) -> None:
        """Every few milliseconds, lets the rest of the console work."""
        if time.monotonic() >= self._breath:
            await asyncio.sleep(0)
            self._breath = time.monotonic() + SLICE_SECONDS

    def _others(self, seen: set[str]) -> Iterator[Glance]:
        """Those at work, those never looked at, and a few that have ended."""
        others = [run for run in self._ordered if run.record.id not in seen]
        over = [run for run in others if run.is_over]
        self._next = self._next % max(len(over), 1)
        checked = islice(over, self._next, self._next + CHECKED_AGAIN)
        self._next += CHECKED_AGAIN
        at_work = [run for run in others if run.state is not None and not run.is_over]
        return chain(at_work, checked, (run for run in others if run.state is None))

    def _look(self, run: Glance, *, closely: bool) -> None:
        try:
            if closely:
                run.look_closely()
            else:
                run.look()
        except (OSError, UserError) as error:
            self.unreadable[run.record.id] = str(error)

    async def _open_new(self, until: float) -> None:
        """Reads what run.json says of new runs, the newest first, until that time."""
        gone = False
        if not self.waiting:
            folders = _folders(self.root)
            gone = self._forget(self._runs.keys() - folders.keys())
            self.unreadable = {name: why for name, why in self.unreadable.items() if name in folders}
            self.waiting = sorted(folders.keys() - self._runs.keys(), key=folders.__getitem__)
        found = False
        while self.waiting and time.monotonic() < until:
            for name in self.waiting[-RECORDS_AT_ONCE:][::-1]:
                found = self._open(name) or found
            del self.waiting[-RECORDS_AT_ONCE:]
            await self._breathe()
        if found or gone:
            self._ordered = sorted(self._runs.values(), key=lambda run: (-run.record.created, run.record.id))
            self.version += 1

    def _forget(self, names: set[str]) -> bool:
        for name in names:
            del self._runs[name]
        return bool(names)

    def _open(self, name: str) -> bool:
        directory = RunDir(self.root / name)
        try:
            self._runs[name] = Glance(directory, read_heading(directory))
        except FileNotFoundError:
            return False
        except UserError as error:
            self.unreadable[name] = str(error)
            return False
        self.unreadable.pop(name, None)
        return True


async def _look_after(waiting: Sequence[RunDir]) -> None:
    """What can't be written is found out again."""
    with suppress(UserError):
        await asyncio.to_thread(placing.look_after, waiting)


def _folders(root: Path) -> dict[str, float]:
    """What may be a run, and when something was last made in it."""
    try:
        with os.scandir(root) as entries:
            return {
                entry.name: entry.stat(follow_symlinks=False).st_mtime
                for entry in entries
                if is_run_id(entry.name) and entry.is_dir(follow_symlinks=False)
            }
    except FileNotFoundError:
        return {}
