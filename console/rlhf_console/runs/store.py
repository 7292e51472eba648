"""Runs of a run root, read for people: records, states and summaries."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rlhf_console.runs.fold import RunSummary, fold
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord
from rlhf_sdk.run_root import find_run, left_out, list_runs
from rlhf_sdk.states import State
from rlhf_sdk.tail import CHUNK
from rlhf_sdk.trainer import UserError

LATEST = "latest"


@dataclass
class LiveRun:
    """One run that is followed: its record, and a summary that grows as its files do."""

    directory: RunDir
    record: RunRecord
    summary: RunSummary = field(default_factory=RunSummary)

    def __post_init__(self) -> None:
        self._events, self._alerts = self.directory.events(), self.directory.alerts()

    @classmethod
    def open(cls, directory: RunDir) -> LiveRun:
        """Raises `UserError` if run.json is damaged."""
        return cls(directory, directory.record())

    def refresh(self, limit: int = CHUNK) -> bool:
        """Reads at most about `limit` bytes of what is new, the shim's alerts with it; True if there was anything.

        Raises `UserError` if a file can't be read.
        """
        try:
            events = [*self._events.read(limit), *self._alerts.read()]
        except OSError as error:
            raise UserError(f"{error.filename or self.directory.path} can't be read: {error.strerror}") from error
        fold(self.summary, events)
        return bool(events)

    @property
    def unread_bytes(self) -> int:
        """Events that are still to be read."""
        return self._events.unread_bytes

    def catch_up(self) -> LiveRun:
        """Reads everything up to now."""
        while self.refresh():
            pass
        return self

    @property
    def state(self) -> State:
        return self.directory.state()


def open_runs(root: Path) -> list[LiveRun]:
    """Every readable run of the root, newest last, not yet read."""
    return _opened(root)[0]


def unreadable_runs(root: Path) -> list[str]:
    """What is wrong with each run that `open_runs` leaves out."""
    return [*left_out(root), *_opened(root)[1]]


def _opened(root: Path) -> tuple[list[LiveRun], list[str]]:
    runs, problems = [], []
    for directory in list_runs(root):
        try:
            opened = LiveRun.open(directory)
            directory.state()
            runs.append(opened)
        except UserError as error:
            problems.append(str(error))
    return sorted(runs, key=lambda run: (run.record.created, run.record.id)), problems


def find(root: Path, text: str) -> LiveRun:
    """The run called `text` (id, unique beginning, name, or "latest"). Raises `UserError` if there is none such."""
    runs = open_runs(root)
    own = [run for run in runs if run.record.pipeline is None]
    if text == LATEST and own:
        return own[-1]
    named = [run for run in runs if text in (run.record.name, run.record.id)]
    named.sort(key=lambda run: _precedence(run, text))
    return named[-1] if named else LiveRun.open(find_run(root, text))


def _precedence(run: LiveRun, text: str) -> tuple[bool, float, bool]:
    """An id goes before a name, which may be chosen by somebody else; the newest run of a name before older ones, and a
    run before its copies."""
    return run.record.id == text, run.record.created, run.record.id.startswith(f"{text}-")


def children_of(root: Path, pipeline_id: str) -> list[LiveRun]:
    """The runs of a pipeline's stages, in the order of their creation."""
    return [run for run in open_runs(root) if run.record.pipeline == pipeline_id]
