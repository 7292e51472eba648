"""What the screens show, gathered from run directories: incrementally, in pieces that never hold up the keys."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rlhf_console.runs.store import LiveRun
from rlhf_sdk.events import Sample
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.states import ENDED, State
from rlhf_sdk.trainer import UserError

KEPT_SAMPLES = 200


@dataclass
class RunRow:
    """A run in the list: followed while it lives, read once when it has ended."""

    live: LiveRun
    state: State
    complete: bool = False

    def refresh(self) -> None:
        self.state = self.live.state
        if not self.complete:
            more = self.live.refresh()
            self.complete = self.state in ENDED and not more


@dataclass
class RunList:
    """Every run of a root, newest first, the stages of a pipeline below it."""

    root: Path
    rows: dict[str, RunRow] = field(default_factory=dict)

    async def refresh(self) -> list[RunRow]:
        """Reads what is new, yielding between runs."""
        for directory in list_runs(self.root):
            # A run that can't be read now may be readable at the next look.
            with suppress(UserError):
                self._refresh_row(directory)
            await asyncio.sleep(0)
        return self.ordered()

    def _refresh_row(self, directory: RunDir) -> None:
        if directory.id not in self.rows:
            self.rows[directory.id] = RunRow(LiveRun.open(directory), directory.state())
        row = self.rows[directory.id]
        if not row.complete:
            row.refresh()

    def ordered(self) -> list[RunRow]:
        top = [row for row in self.rows.values() if row.live.record.pipeline not in self.rows]
        top.sort(key=lambda row: row.live.record.created, reverse=True)
        return [shown for row in top for shown in (row, *self._stages(row.live.record.id))]

    def _stages(self, pipeline: str) -> list[RunRow]:
        stages = [row for row in self.rows.values() if row.live.record.pipeline == pipeline]
        return sorted(stages, key=lambda row: row.live.record.created)


class OpenRun:
    """One run in focus, with its newest samples."""

    def __init__(self, live: LiveRun) -> None:
        self.live = live
        self.samples: list[Sample] = []
        self._samples = live.directory.samples()

    async def refresh(self) -> None:
        """Reads everything that is new, in pieces."""
        while self.live.refresh():
            await asyncio.sleep(0)
        while new := self._samples.read():
            self.samples = [*self.samples, *new][-KEPT_SAMPLES:]
            await asyncio.sleep(0)
