"""All runs of a root, for a list that stays current: thousands of them, at the cost of the few that change."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from rlhf_console.runs.glance import Glance, read_heading
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import is_run_id
from rlhf_sdk.trainer import UserError

RECORDS_AT_ONCE = 50
CHECKED_AGAIN = 100
"""Ended runs, of all, that are looked at again in each round: they may have been resumed."""
ROUND_SECONDS = 0.25
"""What a round spends on runs that nobody sees."""


class RunIndex:
    """Runs, newest first. `version` is another whenever the runs, or a state, are others."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unreadable: dict[str, str] = {}
        self.version = 0
        self._runs: dict[str, Glance] = {}
        self._ordered: list[Glance] = []
        self._next = 0

    @property
    def runs(self) -> Sequence[Glance]:
        return self._ordered

    async def refresh(self, in_sight: Iterable[Glance] = ()) -> None:
        """One round: new runs, those in sight, and of the others, for a moment, their states; yields in between."""
        await self._find()
        seen = {run.record.id for run in in_sight}
        for run in [self._runs[run_id] for run_id in seen if run_id in self._runs]:
            self._look(run, closely=True)
            await asyncio.sleep(0)
        until = time.monotonic() + ROUND_SECONDS
        for run in self._others(seen):
            self._look(run, closely=False)
            await asyncio.sleep(0)
            if time.monotonic() > until:
                break

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
        before = run.state, run.tags
        try:
            if closely:
                run.look_closely()
            else:
                run.look()
        except (OSError, UserError) as error:
            self.unreadable[run.record.id] = str(error)
        self.version += before != (run.state, run.tags)

    async def _find(self) -> None:
        names = _folders(self.root)
        new = sorted(names - self._runs.keys())
        gone = self._runs.keys() - names
        for name in gone:
            del self._runs[name]
        self.unreadable = {name: why for name, why in self.unreadable.items() if name in names}
        found = False
        for count, name in enumerate(new):
            found = self._open(name) or found
            if count % RECORDS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if found or gone:
            self._ordered = sorted(self._runs.values(), key=lambda run: -run.record.created)
            self.version += 1

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


def _folders(root: Path) -> set[str]:
    try:
        with os.scandir(root) as entries:
            return {entry.name for entry in entries if is_run_id(entry.name) and entry.is_dir(follow_symlinks=False)}
    except FileNotFoundError:
        return set()
