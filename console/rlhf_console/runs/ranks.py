"""The ranks of a run: what each reports, and which of them the others wait for. Pure but for `RankWatch`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlhf_console.render import duration, size
from rlhf_sdk.evidence import STALLED_AFTER_SECONDS
from rlhf_sdk.ranked.reports import RankReport, read_reports

READ_SECONDS = 1.0
STRAGGLING = 0.1
"""By how much of a step the others must have waited for longer, before a rank is called the slowest."""

COLUMNS = ("rank", "host", "step", "in", "waits for", "waited", "memory", "seen")


@dataclass(frozen=True)
class RankLine:
    """One rank's cells, in the order of `COLUMNS`; `state`: "", "slowest", "silent" or how it ended."""

    cells: tuple[str, ...]
    state: str


class RankWatch:
    """Reads the reports of a run again once a second."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read = -READ_SECONDS
        self.reports: list[RankReport] = []

    def refresh(self) -> None:
        if time.monotonic() - self._read >= READ_SECONDS:
            self._read = time.monotonic()
            self.reports = read_reports(self._directory)


def slowest(reports: Sequence[RankReport]) -> int | None:
    """The rank that waited least in the last step, where the others waited for much longer."""
    if len(reports) < 2:
        return None
    least, *others = sorted(reports, key=lambda report: report.waited_share)
    return least.rank if others[0].waited_share - least.waited_share > STRAGGLING else None


def rank_lines(reports: Sequence[RankReport], now: float) -> list[RankLine]:
    """One line for each rank; `now` in Unix seconds."""
    straggler = slowest(reports)
    return [_line(report, now, straggling=report.rank == straggler) for report in reports]


def _line(report: RankReport, now: float, *, straggling: bool) -> RankLine:
    silent = now - report.time > STALLED_AFTER_SECONDS
    state = report.ended or ("silent" if silent else "slowest" if straggling else "")
    memory = report.memory.get("peak", report.memory.get("rss", 0))
    cells = (
        str(report.rank),
        report.host,
        str(report.step),
        report.at,
        report.waiting_for,
        f"{report.waited_share:.0%}",
        size(memory) if memory else "-",
        " ".join(duration(now - report.time).split()[:2]),
    )
    return RankLine(cells, state)
