"""What each rank says of itself, in `ranks/`."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from rlhf_sdk.bounds import read_record
from rlhf_sdk.files import make_private_directory, write_atomically
from rlhf_sdk.liveness import host_name, is_alive, own_identity
from rlhf_sdk.ranked.link import RankLink, RankPlace
from rlhf_sdk.run_record import ProcessIdentity
from rlhf_sdk.scrubbing import scrub

FOLDER = "ranks"
REPORT_SECONDS = 1.0
SHORTEST_STEP_SECONDS = 1e-6


class RankReport(msgspec.Struct, frozen=True, kw_only=True):
    """`ranks/0003.json`: one rank as of `time` (Unix seconds).

    `at`: the phase it is in; `since`: when it last got on (a phase, a safe point); `waiting_for`: what it waits for of
    the others; `waited_share`: of its time since the step before; `rows_per_second`: what it was dealt in that time
    (prompts to answer, rows to score or train on, each time), by the time in which it did not wait; memory in bytes.
    `ended` says how it ended: a state, and `reason` why; empty before. `lost_before`: that reason, in the attempt
    before, if it had lost another rank then.
    """

    rank: int
    size: int
    host: str
    process: ProcessIdentity
    attempt: int
    time: float
    step: int = 0
    at: str = ""
    since: float = 0.0
    waiting_for: str = ""
    waited_share: float = 0.0
    rows_per_second: float = 0.0
    memory: dict[str, int] = {}
    ended: str = ""
    code: str = ""
    reason: str = ""
    lost_before: str = ""

    @property
    def name(self) -> str:
        return f"rank {self.rank} on {self.host}"

    def lives(self) -> bool | None:
        """Whether its process is there; None where it runs on another host."""
        return is_alive(self.process) if self.host == host_name() else None


def report_file(run: Path, rank: int) -> Path:
    return run / FOLDER / f"{rank:04d}.json"


def read_reports(run: Path) -> list[RankReport]:
    """Of the newest attempt, by rank; empty for a run of one process. What can't be read is left out."""
    found = [report for path in sorted((run / FOLDER).glob("[0-9]*.json")) if (report := _report_in(path))]
    newest = max((report.attempt for report in found), default=0)
    return [report for report in found if report.attempt == newest]


def _report_in(path: Path) -> RankReport | None:
    with suppress(OSError, ValueError):
        return msgspec.json.decode(read_record(path), type=RankReport)
    return None


class RankReporter:
    """`before`: the report that was there, of this rank in an earlier attempt.

    Writes this rank's report once a second from a thread, so that a rank that waits or hangs is seen too."""

    def __init__(self, run: Path, place: RankPlace, attempt: int) -> None:
        self._path = report_file(run, place.rank)
        make_private_directory(self._path.parent)
        now = time.time()
        self.before = _report_in(self._path)
        self._report = RankReport(
            rank=place.rank,
            size=place.size,
            host=host_name(),
            process=own_identity(),
            attempt=attempt,
            time=now,
            since=now,
            at="starting",
            lost_before=self.before.reason if self.before and self.before.code == LOST_OTHERS else "",
        )
        self._link: RankLink | None = None
        self._step_began, self._waited_before, self._rows_before = now, 0.0, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def start(self) -> None:
        self._write()
        self._thread.start()

    def linked(self, link: RankLink, attempt: int) -> None:
        """`attempt` is what all ranks agreed on."""
        self._link = link
        self._report = msgspec.structs.replace(self._report, attempt=attempt, at="set-up")

    def got_on(self, *, step: int, at: str) -> None:
        """This rank is at another place now; cheap, called at every safe point."""
        self._report = msgspec.structs.replace(self._report, step=step, at=at, since=time.time())

    def stepped(self, memory: dict[str, int]) -> None:
        """A step has ended."""
        now = time.time()
        waited, rows = (self._link.waited_seconds, self._link.rows_dealt) if self._link else (0.0, 0)
        seconds = max(now - self._step_began, SHORTEST_STEP_SECONDS)
        share = min((waited - self._waited_before) / seconds, 1.0)
        worked = max(seconds * (1.0 - share), SHORTEST_STEP_SECONDS)
        self._report = msgspec.structs.replace(
            self._report, waited_share=share, rows_per_second=(rows - self._rows_before) / worked, memory=memory
        )
        self._step_began, self._waited_before, self._rows_before = now, waited, rows

    def end(self, state: str, reason: str, code: str = "") -> None:
        """The last report."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=REPORT_SECONDS)
        self._report = msgspec.structs.replace(self._report, ended=state, reason=reason, code=code)
        self._write()

    def _go_on(self) -> None:
        while not self._ended.wait(REPORT_SECONDS):
            self._write()

    def _write(self) -> None:
        waiting_for = self._link.waiting_for if self._link is not None else ""
        report = msgspec.structs.replace(self._report, time=time.time(), waiting_for=waiting_for)
        with suppress(OSError):
            write_atomically(self._path, msgspec.json.encode(scrub(msgspec.to_builtins(report))), durable=False)


LOST_OTHERS = "lost_others"
"""The code of a rank that ended because another one did."""
