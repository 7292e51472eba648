"""All runs of a root, for a list that stays current: thousands of them, at the cost of the few that change."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from rlhf_console.runs.fold import RunSummary, fold
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord
from rlhf_sdk.run_root import is_run_id
from rlhf_sdk.states import ENDED, State
from rlhf_sdk.trainer import UserError

NEWEST_EVENTS = 60
HEAD_BYTES = 16 << 10
RECORDS_AT_ONCE = 50
CHECKED_AGAIN = 100
"""Ended runs, of all, that are looked at again in each round: they may have been resumed."""


@dataclass
class Glance:
    """What a list shows of a run: the summary knows the beginning and the newest events alone."""

    directory: RunDir
    record: RunRecord
    state: State | None = None
    summary: RunSummary = field(default_factory=RunSummary)
    _seen: tuple[int, int] = (-1, -1)

    @property
    def is_over(self) -> bool:
        return self.state in ENDED or self.state is State.LOST

    def refresh(self) -> None:
        """Reads the state and, if something was written, the ends of events.jsonl."""
        self.state = self.directory.state()
        stamp = _stamp(self.directory.events_file)
        if stamp != self._seen:
            self._seen = stamp
            beginning = self.directory.events().read(HEAD_BYTES)
            newest = self.directory.last_events(NEWEST_EVENTS)
            known = beginning[-1].seq if beginning else 0
            self.summary = fold(RunSummary(), [*beginning, *(event for event in newest if event.seq > known)])


class RunIndex:
    """Runs, newest first, the stages of a pipeline below it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unreadable: dict[str, str] = {}
        self._runs: dict[str, Glance] = {}
        self._ordered: list[Glance] = []
        self._next = 0

    @property
    def runs(self) -> list[Glance]:
        """All runs, in the order of the list."""
        return self._ordered

    async def refresh(self) -> None:
        """One round: new runs, those that live, and a few of those that have ended; yields in between."""
        await self._find()
        due = [run for run in self._ordered if not run.is_over]
        over = [run for run in self._ordered if run.is_over]
        self._next = self._next % max(len(over), 1)
        due += islice(over, self._next, self._next + CHECKED_AGAIN)
        self._next += CHECKED_AGAIN
        for run in due:
            try:
                run.refresh()
            except (OSError, UserError) as error:
                self.unreadable[run.record.id] = str(error)
            await asyncio.sleep(0)

    async def _find(self) -> None:
        names = _folders(self.root)
        new = [name for name in names if name not in self._runs]
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
            self._ordered = self._in_order()

    def _open(self, name: str) -> bool:
        directory = RunDir(self.root / name)
        if not directory.record_file.is_file():
            return False
        try:
            self._runs[name] = Glance(directory, directory.record())
        except UserError as error:
            self.unreadable[name] = str(error)
            return False
        self.unreadable.pop(name, None)
        return True

    def _in_order(self) -> list[Glance]:
        stages: dict[str, list[Glance]] = {}
        top = []
        for run in sorted(self._runs.values(), key=lambda run: run.record.created):
            pipeline = run.record.pipeline
            if pipeline in self._runs and pipeline is not None:
                stages.setdefault(pipeline, []).append(run)
            else:
                top.append(run)
        return [shown for run in reversed(top) for shown in (run, *stages.get(run.record.id, []))]


def _folders(root: Path) -> set[str]:
    try:
        with os.scandir(root) as entries:
            return {entry.name for entry in entries if is_run_id(entry.name) and entry.is_dir(follow_symlinks=False)}
    except FileNotFoundError:
        return set()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
