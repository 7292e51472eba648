"""The `Run` of one rank among several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rlhf_sdk.ranked.control import OthersShortOfMemory, SharedControl
from rlhf_sdk.ranked.reports import RankReporter
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.worker_run import WorkerRun


class RankedRun(WorkerRun):
    """Tells `reporter` where it is; only the rank that leads moves the run's heartbeat."""

    control: SharedControl

    def __init__(self, directory: RunDir, *, reporter: RankReporter, leads: bool, **parts: Any) -> None:
        self._reporter, self._leads = reporter, leads
        super().__init__(directory, **parts)

    def touch(self) -> None:
        if self._leads:
            super().touch()

    def safe_point(self) -> None:
        self._reporter.got_on(step=self.step, at=self._phases.path)
        super().safe_point()

    def token_point(self) -> None:
        self._reporter.got_on(step=self.step, at=self._phases.path)
        self.beat()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        with super().phase(name):
            self._reporter.got_on(step=self.step, at=self._phases.path)
            yield
        self._reporter.got_on(step=self.step, at=self._phases.path)

    def out_of_memory(self, error: Exception, *, what: str, rows: int, smaller: int | None) -> None:
        """One rank is short: all go on with fewer rows, for they work in step."""
        if not isinstance(error, OthersShortOfMemory):
            self.control.ran_out_of_memory()
        if self._leads:
            super().out_of_memory(error, what=what, rows=rows, smaller=smaller)
