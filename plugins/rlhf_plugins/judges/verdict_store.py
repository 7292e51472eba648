"""Verdicts that were paid for, by content, shared by all runs below a run root: nothing is paid twice."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from rlhf_engine.eval.pairwise import Choice
from rlhf_engine.hooks import Hooks
from rlhf_sdk.files import PRIVATE_FILE, make_private_directory, write_atomically
from rlhf_sdk.journal import LineFile
from rlhf_sdk.tail import Tail

FOLDER = "judge"
POLL_SECONDS = 0.2


class PaidVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `verdicts.jsonl`: the answer to the question whose content hashes to `key`, and who paid for it."""

    key: str
    choice: Choice | None
    reason: str
    usd: float
    run: str


class PendingBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch whose results are not here yet; without an id it may or may not have been submitted at `time`."""

    keys: list[str]
    time: float
    id: str = ""

    @property
    def file_name(self) -> str:
        return f"batch-{self.keys[0]}.json"


class VerdictStore:
    """Below `root`, for the run `run`. What changes anything happens within `locked`."""

    def __init__(self, root: Path, run: str) -> None:
        self.folder, self.run = root / FOLDER, run
        make_private_directory(self.folder)
        self._file = self.folder / "verdicts.jsonl"
        self._tail = Tail(self._file, msgspec.json.Decoder(PaidVerdict).decode)
        self._known: dict[str, PaidVerdict] = {}
        self._paid_usd = 0.0

    def known(self) -> dict[str, PaidVerdict]:
        """By key, up to now."""
        for verdict in self._tail:
            self._known[verdict.key] = verdict
            self._paid_usd += verdict.usd if verdict.run == self.run else 0.0
        return self._known

    def paid_usd(self) -> float:
        """What this run has paid."""
        self.known()
        return self._paid_usd

    def add(self, verdicts: list[PaidVerdict]) -> None:
        """Kept through a loss of power once this returns."""
        file = LineFile(self._file)
        for verdict in verdicts:
            file.append(msgspec.json.encode(verdict) + b"\n")
        file.sync()
        file.close()

    def pending(self) -> list[PendingBatch]:
        files = sorted(self.folder.glob("batch-*.json"))
        return [msgspec.json.decode(file.read_bytes(), type=PendingBatch) for file in files]

    def keep(self, batch: PendingBatch) -> None:
        write_atomically(self.folder / batch.file_name, msgspec.json.encode(batch))

    def drop(self, batch: PendingBatch) -> None:
        (self.folder / batch.file_name).unlink(missing_ok=True)

    @contextmanager
    def locked(self, hooks: Hooks) -> Iterator[None]:
        """No other run asks within; a process that dies lets go. While it waits the run can be paused or stopped."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        try:
            while not _taken(descriptor):
                time.sleep(POLL_SECONDS)
                hooks.safe_point()
            yield
        finally:
            os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
