"""A run is a directory: where everything is, and how to read it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rlhf_sdk.bounds import read_record
from rlhf_sdk.events import Alert, Event, Finished, Sample, decode_event, decode_events, decode_sample
from rlhf_sdk.evidence import Evidence, final_words, state_of
from rlhf_sdk.foreign import check_entries
from rlhf_sdk.liveness import has_process
from rlhf_sdk.run_record import ExitRecord, Placement, Record, RunRecord, RunStatus, decode_record
from rlhf_sdk.states import State
from rlhf_sdk.tail import Tail, decoded, last_lines
from rlhf_sdk.trainer import UserError
from rlhf_sdk.whereabouts import directory_identity

FINAL_WORDS = 50


@dataclass(frozen=True)
class RunDir:
    """The layout of one run directory. Reading never changes anything."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def root(self) -> Path:
        return self.path.parent

    @property
    def record_file(self) -> Path:
        return self.path / "run.json"

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def exit_file(self) -> Path:
        return self.path / "exit.json"

    @property
    def job_file(self) -> Path:
        return self.path / "job.json"

    @property
    def events_file(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def samples_file(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def machine_file(self) -> Path:
        return self.path / "machine.jsonl"

    @property
    def alerts_file(self) -> Path:
        return self.path / "alerts.jsonl"

    @property
    def heartbeat(self) -> Path:
        return self.path / "heartbeat"

    @property
    def commands(self) -> Path:
        return self.path / "commands"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def data(self) -> Path:
        """Where a trainer may write."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """What the worker and the shim print."""
        return self.path / "output.log"

    @property
    def lock(self) -> Path:
        """Held by the shim, so that a run has one worker at a time."""
        return self.path / ".lock"

    def record(self) -> RunRecord:
        """`run.json`; its `id` is the directory's name, whatever stands there.

        Raises `UserError` if it is missing or damaged, or if the directory has links in it.
        """
        record = _read(self.record_file, RunRecord)
        if record is None:
            raise UserError(f"{self.path} is not a run: it has no run.json")
        check_entries(self.path)
        return msgspec.structs.replace(record, id=self.id)

    def status(self) -> RunStatus | None:
        """`status.json`; None for a run that was never started."""
        return _read(self.status_file, RunStatus)

    def placement(self) -> Placement | None:
        """`job.json`; None for a run that was started here, and for a copy of one that was placed."""
        placed = _read(self.job_file, Placement)
        return placed if placed is not None and placed.directory == directory_identity(self.path) else None

    def exit(self) -> ExitRecord | None:
        """The verdict on the newest attempt; None while it goes on, or waits to begin."""
        return self._verdict(self.status(), self.placement())

    def _verdict(self, status: RunStatus | None, placed: Placement | None) -> ExitRecord | None:
        if placed is not None and placed.is_ahead_of(status):
            return placed.verdict
        verdict = _read(self.exit_file, ExitRecord)
        if verdict is None or (status is not None and verdict.attempt < status.attempt):
            return None
        return verdict

    def events(self) -> Tail[Event]:
        """Follows `events.jsonl` from its beginning."""
        return Tail(self.events_file, decode_event, decode_events)

    def alerts(self) -> Tail[Alert]:
        """Follows `alerts.jsonl`, the shim's own alerts, from its beginning."""
        return Tail(self.alerts_file, msgspec.json.Decoder(Alert).decode)

    def samples(self) -> Tail[Sample]:
        """Follows `samples.jsonl` from its beginning."""
        return Tail(self.samples_file, decode_sample)

    def last_events(self, count: int) -> list[Event]:
        """The newest `count` events, oldest first, without reading the whole file."""
        return list(decoded(last_lines(self.events_file, count), decode_event))

    def state(self) -> State:
        """The state now: the shim's word, unless the processes tell otherwise (`stalled`, `lost`)."""
        return state_of(self.evidence())

    def evidence(self) -> Evidence:
        """What can be seen of the run now; the events only where nobody has judged the attempt."""
        status, placed = self.status(), self.placement()
        verdict = self._verdict(status, placed)
        return Evidence(
            status=status,
            verdict=verdict,
            queued=placed is not None and placed.ended is None and placed.is_ahead_of(status),
            events=[] if verdict else self.last_events(FINAL_WORDS),
            heartbeat=self.heartbeat.stat().st_mtime if self.heartbeat.exists() else None,
            process=has_process(status, self.path) if status else False,
            now=time.time(),
        )

    def final_words(self, attempt: int) -> tuple[State, Finished] | None:
        """How the worker said that `attempt` ended; None if it was cut off before it could."""
        return final_words(self.last_events(FINAL_WORDS), attempt)


def _read(path: Path, kind: type[Record]) -> Record | None:
    try:
        return decode_record(read_record(path), kind, str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error
