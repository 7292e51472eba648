"""The ranks of a run: what each reports, and which of them the others wait for. Pure but for `RankWatch`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlhf_console.render import duration, size
from rlhf_console.scale import figure
from rlhf_sdk.evidence import STALLED_AFTER_SECONDS
from rlhf_sdk.ranked.reports import RankReport, read_reports

READ_SECONDS = 1.0
STRAGGLING = 0.1
"""By how much of a step the others must have waited for longer, before a rank is called the slowest."""

COLUMNS = ("rank", "host", "step", "in", "waits", "for", "rows/s", "memory", "seen")
HOST_COLUMNS = ("host", "ranks", "step", "in", "waits", "rows/s", "memory", "seen")
"""`waits`: the share of the last step that was waited, and `for` what it waits now."""

SILENT, SLOWEST = "silent", "slowest"
LONGEST_HOST = 20


@dataclass(frozen=True)
class RankLine:
    """One rank's cells, in the order of `COLUMNS`; `state`: "", "slowest", "silent" or how it ended.

    Of a host the cells are those of `HOST_COLUMNS`, and the state is that of its worst rank.
    """

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
    states, names = _states(reports, now), short_hosts([report.host for report in reports])
    return [_line(report, names[report.host], states[report.rank], now) for report in reports]


def host_lines(reports: Sequence[RankReport], now: float) -> list[RankLine]:
    """One line for each host: its ranks together, in the order of their first."""
    states, names = _states(reports, now), short_hosts([report.host for report in reports])
    hosts: dict[str, list[RankReport]] = {}
    for report in reports:
        hosts.setdefault(report.host, []).append(report)
    return [_host_line(names[host], there, [states[each.rank] for each in there], now) for host, there in hosts.items()]


def short_hosts(hosts: Sequence[str]) -> dict[str, str]:
    """Names without their domains where that tells them apart, and not too long."""
    whole = list(dict.fromkeys(hosts))
    first = [host.partition(".")[0] for host in whole]
    names = first if len(set(first)) == len(first) else whole
    return {
        host: name if len(name) <= LONGEST_HOST else f"…{name[1 - LONGEST_HOST :]}"
        for host, name in zip(whole, names, strict=True)
    }


def _states(reports: Sequence[RankReport], now: float) -> dict[int, str]:
    straggler = slowest(reports)
    return {report.rank: _state(report, now, straggling=report.rank == straggler) for report in reports}


def _state(report: RankReport, now: float, *, straggling: bool) -> str:
    silent = now - report.time > STALLED_AFTER_SECONDS
    return report.ended or (SILENT if silent else SLOWEST if straggling else "")


def _line(report: RankReport, host: str, state: str, now: float) -> RankLine:
    cells = (
        str(report.rank),
        host,
        str(report.step),
        report.at,
        f"{report.waited_share:.0%}",
        report.waiting_for,
        _rate([report]),
        _memory([report]),
        _seen([report], now),
    )
    return RankLine(cells, state)


def _host_line(host: str, reports: Sequence[RankReport], states: Sequence[str], now: float) -> RankLine:
    """The phase is that of most of its ranks."""
    shares = [report.waited_share for report in reports]
    cells = (
        host,
        _span([str(report.rank) for report in reports]),
        _span([str(step) for step in sorted({report.step for report in reports})]),
        Counter(report.at for report in reports).most_common(1)[0][0],
        _span(list(dict.fromkeys([f"{min(shares):.0%}", f"{max(shares):.0%}"]))),
        _rate(reports),
        _memory(reports),
        _seen(reports, now),
    )
    bad = [state for state in states if state]
    return RankLine(cells, min(bad, key=_gravity, default=""))


def _gravity(state: str) -> int:
    """How a rank ended first, then silence, then slowness."""
    return {SLOWEST: 2, SILENT: 1}.get(state, 0)


def _span(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]}-{names[-1]}"


def _rate(reports: Sequence[RankReport]) -> str:
    """Of all of them together, each in its own working time."""
    rate = sum(report.rows_per_second for report in reports)
    return figure(rate) if rate else "-"


def _memory(reports: Sequence[RankReport]) -> str:
    """Of the one that needs most."""
    largest = max(report.memory.get("peak", report.memory.get("rss", 0)) for report in reports)
    return size(largest) if largest else "-"


def _seen(reports: Sequence[RankReport], now: float) -> str:
    """Of the one that was not heard of for longest."""
    return " ".join(duration(now - min(report.time for report in reports)).split()[:2])
