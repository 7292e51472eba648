"""Checkpoints of a run of several ranks: rank 0 chooses and writes them, and all have part in both."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rlhf_sdk.checkpoints import read_state
from rlhf_sdk.ranked.link import RankLink, RankPlace
from rlhf_sdk.worker_checkpoints import WorkerCheckpoints


class RankedCheckpoints(WorkerCheckpoints):
    """`save` and `find` are made by all ranks at the same safe point."""

    link: RankLink

    def __init__(self, *parts: Any, place: RankPlace) -> None:
        super().__init__(*parts)
        self._place = place

    def find(self) -> Path | None:
        found = super().find() if self._place.leads else None
        name = self.link.tell(found.name.encode() if found else b"").decode()
        if not name or self._place.leads:
            return found
        found = self._directory / name
        self.take_over(read_state(found))
        return found

    def due(self) -> bool:
        """By rank 0's clock."""
        return bool(self.link.meet(int(super().due()))[0])

    def save(self, reason: str, *, finished: bool) -> None:
        with self.link.patience():
            if self._place.leads:
                super().save(reason, finished=finished)
            else:
                self._take_part()

    def _take_part(self) -> None:
        """The trainer's part in gathering what rank 0 writes."""
        if not self._run.inside_step:
            self.begin_step()
        with tempfile.TemporaryDirectory() as scratch:
            self._trainer.save(Path(scratch))
        self._newest_step = self._run.step
