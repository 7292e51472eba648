"""The two append-only files of a run, written by the worker alone: events and samples."""

from __future__ import annotations

import os
import time
from pathlib import Path
from weakref import finalize

import msgspec

from rlhf_sdk.events import SCHEMA, Event, Sample, encode_line
from rlhf_sdk.files import PRIVATE_FILE
from rlhf_sdk.tail import decoded, end_of_lines, newest_first
from rlhf_sdk.trainer import UserError


class LineFile:
    """Whole lines only: one `write` each, and what a failed one left behind is taken back.

    Open until `close`, or until nobody holds it any more.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
        self.close = finalize(self, os.close, self._descriptor)
        os.ftruncate(self._descriptor, end_of_lines(self._descriptor))

    def append(self, line: bytes) -> None:
        """Raises `OSError` if the disk is full or the file can't grow."""
        size = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, line)
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def sync(self) -> None:
        os.fsync(self._descriptor)


class Journal:
    """Stamps and appends what a run says; goes on counting where an earlier attempt left off.

    Numbers have no gaps: a line that could not be written has used none.
    """

    def __init__(self, events: Path, samples: Path, *, attempt: int) -> None:
        self.attempt = attempt
        self.step = 0
        self._events, self._samples = LineFile(events), LineFile(samples)
        newest = _newest(events)
        self.seq, self._found_schema = newest.seq, newest.schema
        self.sample_seq = _newest(samples).seq

    def refuse_newer(self) -> None:
        """Raises `UserError` if a newer version wrote events before this attempt began."""
        if self._found_schema > SCHEMA:
            raise UserError(
                f"events.jsonl has schema {self._found_schema}; this version reads up to {SCHEMA}: upgrade rlhf-console"
            )

    def event(self, event: Event) -> None:
        self.seq += 1
        try:
            self._events.append(encode_line(self._stamped(event, self.seq)))
        except OSError:
            self.seq -= 1
            raise

    def sample(self, sample: Sample) -> None:
        self.sample_seq += 1
        try:
            self._samples.append(encode_line(self._stamped(sample, self.sample_seq)))
        except OSError:
            self.sample_seq -= 1
            raise

    def sync(self) -> None:
        self._events.sync()
        self._samples.sync()

    def close(self) -> None:
        """Nothing more is written."""
        self._events.close()
        self._samples.close()

    def _stamped(self, record: msgspec.Struct, seq: int) -> msgspec.Struct:
        return msgspec.structs.replace(record, seq=seq, attempt=self.attempt, time=time.time(), step=self.step)


class _Numbered(msgspec.Struct):
    seq: int = 0
    attempt: int = 0
    schema: int = SCHEMA


def last_attempt(events: Path) -> int:
    """The newest attempt that wrote an event; 0 if none did."""
    return _newest(events).attempt


def _newest(path: Path) -> _Numbered:
    """The newest line that is not damaged."""
    decoder = msgspec.json.Decoder(_Numbered)
    return next(decoded(newest_first(path), decoder.decode), _Numbered())
