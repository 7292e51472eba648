"""Runs of a run root, read for people: records, states and summaries."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rlhf_console.runs.fold import RunSummary, fold
from rlhf_console.runs.glance import RunHeading, read_heading
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord
from rlhf_sdk.run_root import find_run, is_run_id, list_runs
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


def headings(root: Path) -> list[RunHeading]:
    """Of every run of the root whose run.json can be read, newest last."""
    found = list[RunHeading]()
    for directory in list_runs(root):
        with suppress(FileNotFoundError, UserError):
            found.append(read_heading(directory))
    return sorted(found, key=lambda heading: (heading.created, heading.id))


def find(root: Path, text: str) -> LiveRun:
    """The run called `text` (id, unique beginning, name, or "latest"). Raises `UserError` if there is none such."""
    if text == LATEST:
        own = [heading.id for heading in headings(root) if heading.pipeline is None]
        found = next(filter(None, map(partial(readable_run, root), reversed(own))), None)
        if found is not None:
            return found
    if (by_id := readable_run(root, text)) is not None:
        return by_id
    named = [heading for heading in headings(root) if text == heading.name]
    named.sort(key=lambda heading: _precedence(heading, text))
    found = next(filter(None, (readable_run(root, heading.id) for heading in reversed(named))), None)
    return found or LiveRun.open(find_run(root, text))


def readable_run(root: Path, run_id: str) -> LiveRun | None:
    """The run of that id; None if there is none, or its files are damaged."""
    if not is_run_id(run_id):
        return None
    directory = RunDir(root / run_id)
    try:
        opened = LiveRun.open(directory)
        directory.state()
        return opened
    except UserError:
        return None


def _precedence(heading: RunHeading, text: str) -> tuple[float, bool]:
    """The newest run of a name before older ones, and a run before its copies."""
    return heading.created, heading.id.startswith(f"{text}-")


def children_of(root: Path, pipeline_id: str) -> list[LiveRun]:
    """The runs of a pipeline's stages, in the order of their creation."""
    stages = [heading.id for heading in headings(root) if heading.pipeline == pipeline_id]
    return [run for run in map(partial(readable_run, root), stages) if run is not None]
