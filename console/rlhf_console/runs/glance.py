"""What a list shows of one run, read from the ends of its files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec

from rlhf_console.runs.fold import RunSummary, fold
from rlhf_console.runs.sweeps import SWEEP, Point, points_of
from rlhf_console.runs.tags import FILE as TAGS_FILE
from rlhf_console.runs.tags import MARK, read_tags
from rlhf_console.runs.trend import Trend
from rlhf_sdk.bounds import read_record
from rlhf_sdk.events import Alert
from rlhf_sdk.foreign import check_entries
from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import SCHEMA
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.states import ENDED, LIVE, State
from rlhf_sdk.tail import decoded, last_lines
from rlhf_sdk.trainer import UserError

NEWEST_EVENTS = 60
HEAD_BYTES = 16 << 10
NEWEST_ALERTS = 5


class RunHeading(msgspec.Struct, frozen=True, kw_only=True):
    """Of run.json what a list needs, so that thousands are read in a second."""

    schema: int = SCHEMA
    id: str
    name: str = ""
    plugin: str
    profile: str = ""
    parents: dict[str, str] = {}
    pipeline: str | None = None
    stage: str | None = None
    created: float


_HEADING = msgspec.json.Decoder(RunHeading)


def read_heading(run: RunDir) -> RunHeading:
    """Raises `FileNotFoundError` for what is no run, `UserError` if run.json is damaged or the directory has links."""
    try:
        heading = _HEADING.decode(read_record(run.record_file))
        check_entries(run.path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{run.record_file} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{run.record_file} is damaged: {error}") from error
    if heading.schema > SCHEMA:
        raise UserError(f"{run.record_file} has schema {heading.schema}; this version reads up to {SCHEMA}")
    return msgspec.structs.replace(heading, id=run.id)


def other_headings(run: RunDir) -> Iterator[RunHeading]:
    """Of every other readable run in the same root."""
    for directory in list_runs(run.root):
        if directory.id != run.id:
            with suppress(FileNotFoundError, UserError):
                yield read_heading(directory)


@dataclass(frozen=True)
class MemoryUse:
    """Bytes in use, of those that there are: of the fullest GPU, else of what the machine would give the run."""

    used: int
    total: int


NOTHING_KNOWN = RunSummary()
"""Shared by the thousands of runs that nobody has seen yet."""


@dataclass
class Glance:
    """What a list shows of a run: the summary knows the beginning and the newest events alone.

    `alert` is the newest serious one among those; `memory` is of a run at work; `state` is None until it was looked at.
    """

    directory: RunDir
    record: RunHeading
    state: State | None = None
    summary: RunSummary = field(default_factory=lambda: NOTHING_KNOWN)
    tags: tuple[str, ...] = ()
    alert: Alert | None = None
    memory: MemoryUse | None = None
    _seen: tuple[tuple[int, int], ...] = ()
    _tags_seen: tuple[int, int] = (0, 0)
    _known: str = ""
    _known_of: tuple[State | None, tuple[str, ...]] | None = None

    @cached_property
    def trend(self) -> Trend:
        return Trend(self.directory.events_file)

    @cached_property
    def points(self) -> list[Point]:
        """Of a sweep's grid; none of any other run."""
        return points_of(self.directory) if self.record.plugin == SWEEP else []

    @property
    def is_over(self) -> bool:
        return self.state in ENDED or self.state is State.LOST

    @property
    def known(self) -> str:
        """What a filter looks in, in small letters: id, name, plugin, profile, state, stage, tags, parents."""
        if self._known_of != (self.state, self.tags):
            self._known_of = self.state, self.tags
            record, tags = self.record, [f"{MARK}{tag}" for tag in self.tags]
            parts = [record.id, record.name, record.plugin, record.profile, str(self.state), record.stage or ""]
            self._known = " ".join([*parts, *tags, *record.parents.values()]).lower()
        return self._known

    def look(self) -> None:
        """Reads the state and the tags. Raises `UserError` or `OSError`."""
        self.state = self.directory.state()
        stamp = _stamp(self.directory.path / TAGS_FILE)
        if stamp != self._tags_seen:
            self._tags_seen = stamp
            self.tags = read_tags(self.directory)

    def look_closely(self) -> None:
        """Reads also, if something was written, the ends of events and alerts, and of a run at work its memory."""
        self.look()
        self.memory = self._memory() if self.state in LIVE else None
        stamp = (_stamp(self.directory.events_file), _stamp(self.directory.alerts_file))
        if stamp != self._seen:
            self._seen = stamp
            beginning = self.directory.events().read(HEAD_BYTES)
            newest = self.directory.last_events(NEWEST_EVENTS)
            known = beginning[-1].seq if beginning else 0
            self.summary = fold(RunSummary(), [*beginning, *(event for event in newest if event.seq > known)])
            self.alert = self._newest_alert()
            self.trend.refresh()

    def _newest_alert(self) -> Alert | None:
        lines = last_lines(self.directory.alerts_file, NEWEST_ALERTS)
        alerts = [*self.summary.alerts, *decoded(lines, msgspec.json.Decoder(Alert).decode)]
        serious = [alert for alert in alerts if alert.severity != "info"]
        return max(serious, key=lambda alert: alert.time, default=None)

    def _memory(self) -> MemoryUse | None:
        lines = last_lines(self.directory.machine_file, 1)
        moment = next(decoded(lines, msgspec.json.Decoder(MachineSample).decode), None)
        return memory_use(moment) if moment is not None else None


def memory_use(moment: MachineSample) -> MemoryUse:
    """Of the GPU that is fullest; without one of the cgroup's limit, or of RSS and what the machine has left."""
    if moment.devices:
        fullest = max(moment.devices, key=lambda device: device.memory_used / max(device.memory_total, 1))
        return MemoryUse(fullest.memory_used, fullest.memory_total)
    if moment.cgroup_limit and moment.cgroup_used is not None:
        return MemoryUse(moment.cgroup_used, moment.cgroup_limit)
    return MemoryUse(moment.rss, moment.rss + moment.memory_available)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
