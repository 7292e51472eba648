"""Which rank is to blame where ranks lost each other, and what became of it, in words."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_sdk.liveness import host_name
from rlhf_sdk.ranked.reports import LOST_OTHERS, RankReport

STOPPED_SECONDS = 5.0
"""A thread of its own reports for each rank: one that is there and has not reported for so long does nothing at all."""

SILENT_SECONDS = 10.0


def to_blame(reports: Sequence[RankReport], now: float) -> RankReport | None:
    """The rank that the others lost.

    One that says how it failed, else one that is gone, else one that no longer reports, else the one that got on least
    recently without waiting for anybody.
    """
    failed = [report for report in reports if report.code and report.code != LOST_OTHERS]
    if failed:
        return min(failed, key=lambda report: report.time)
    there = [report for report in reports if not report.ended]
    gone = [report for report in there if report.lives() is False]
    stopped = [report for report in there if report.lives() and now - report.time > STOPPED_SECONDS]
    busy = [report for report in there if not report.waiting_for]
    return min(gone or stopped or busy, key=lambda report: report.since, default=None)


def out_of_reach(others: Sequence[RankReport]) -> RankReport | None:
    """The rank that a lost link is told by, where none is to blame: elsewhere, not heard of for longest."""
    return min(
        (report for report in others if report.host != host_name()), key=lambda report: report.time, default=None
    )


def blame_in_words(report: RankReport, now: float) -> str:
    """What became of a rank, in which phase, and what it waited for."""
    at = f" in {report.at}" if report.at else ""
    where = f"{at}, waiting for {report.waiting_for}" if report.waiting_for else at
    if report.code == LOST_OTHERS or (report.waiting_for and not report.ended and report.host != host_name()):
        return f"{report.name} can't be reached{at} from {host_name()}: {_of_a_lost_link(report, now)}"
    if report.code:
        return f"{report.name} failed{at}: {report.reason}"
    if report.lives() is False:
        return f"{report.name} is gone{where}: killed, or its machine ended it (process {report.process.pid})"
    if now - report.time > STOPPED_SECONDS:
        silence = f"nothing was heard of it for {now - report.time:.0f} s"
        return f"{report.name} does nothing any more{where}: {silence}: stopped, or its machine is stuck or gone"
    return f"{report.name} has not got on for {now - report.since:.0f} s{where}, and the others waited for it"


def standstill_in_words(reports: Sequence[RankReport]) -> str:
    """Where none is to blame: what each waits for."""
    each = [f"{report.name} in {report.at or 'set-up'} for {report.waiting_for or 'nothing'}" for report in reports]
    return f"ranks waited for each other in vain: {'; '.join(each)}"


def _of_a_lost_link(report: RankReport, now: float) -> str:
    if not report.ended and now - report.time > SILENT_SECONDS:
        return f"nothing was heard of it for {now - report.time:.0f} s"
    return "each waited for the other; look at the network between the machines"
