"""A run is a directory: where everything is, and how to read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from rlhf_sdk.events import Alert, Event, Finished, Sample, StateChanged, decode_event, decode_sample
from rlhf_sdk.foreign import check_entries, read_record
from rlhf_sdk.liveness import STALLED_AFTER_SECONDS, has_process, heartbeat_age
from rlhf_sdk.run_record import ExitRecord, Record, RunRecord, RunStatus, decode_record
from rlhf_sdk.states import ENDED, LIVE, State, known_state
from rlhf_sdk.tail import Tail, decoded, last_lines
from rlhf_sdk.trainer import UserError

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

    def exit(self) -> ExitRecord | None:
        """The verdict on the newest attempt; None while it goes on."""
        status, verdict = self.status(), _read(self.exit_file, ExitRecord)
        if verdict is None or (status is not None and verdict.attempt < status.attempt):
            return None
        return verdict

    def events(self) -> Tail[Event]:
        """Follows `events.jsonl` from its beginning."""
        return Tail(self.events_file, decode_event)

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
        status, verdict = self.status(), self.exit()
        if status is None:
            return State.CREATED
        if verdict is not None:
            return verdict.state
        if status.state in ENDED:
            return status.state
        if not has_process(status, self.heartbeat):
            return self._final_state(status.attempt)
        said = self._said(status)
        age = heartbeat_age(self.heartbeat)
        old = age is not None and age > STALLED_AFTER_SECONDS
        return State.STALLED if old and said is not State.STARTING else said

    def _said(self, status: RunStatus) -> State:
        """What the worker said last, if that is among its newest events, else what the shim has noted of it."""
        newest = [event for event in self.last_events(FINAL_WORDS) if event.attempt == status.attempt]
        states = _states_said(newest)
        return states[-1] if states and states[-1] in LIVE else status.state

    def _final_state(self, attempt: int) -> State:
        """Without a shim's verdict: what the worker itself said last."""
        said = self.final_words(attempt)
        return said[0] if said else State.LOST

    def final_words(self, attempt: int) -> tuple[State, Finished] | None:
        """How the worker said that `attempt` ended; None if it was cut off before it could."""
        events = [event for event in self.last_events(FINAL_WORDS) if event.attempt == attempt]
        states = _states_said(events)
        if events and states and states[-1] in ENDED and isinstance(events[-1], Finished):
            return states[-1], events[-1]
        return None


def _states_said(events: list[Event]) -> list[State]:
    said = [known_state(event.state) for event in events if isinstance(event, StateChanged)]
    return [state for state in said if state is not None]


def _read(path: Path, kind: type[Record]) -> Record | None:
    try:
        return decode_record(read_record(path), kind, str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error
