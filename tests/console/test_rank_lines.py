"""What is shown of a run's ranks: who is slow, who is silent, who needs a look where not all can be shown."""

from __future__ import annotations

from msgspec import structs

from rlhf_console.runs.ranks import short_hosts, slowest
from rlhf_console.tui.drawing.cells import plain_text
from rlhf_console.tui.drawing.ranks import SHOWN_RANKS, rank_rows
from rlhf_sdk.liveness import host_name, own_identity
from rlhf_sdk.ranked.blame import blame_in_words, standstill_in_words, to_blame
from rlhf_sdk.ranked.reports import RankReport
from rlhf_sdk.run_record import ProcessIdentity

NOW = 1_000_000.0
ROOM = 24 - 3 - 1 - 1
"""Rows of a screen of 80 x 24 below the head and the views, above the keys."""

GONE = ProcessIdentity(pid=2**22 - 1, start="1")


def report(rank: int, **changes: object) -> RankReport:
    whole = RankReport(
        rank=rank, size=4, host="node-a", process=GONE, attempt=1, time=NOW - 1, step=7, at="update/forward",
        since=NOW - 2, waited_share=0.4, rows_per_second=25.6, memory={"rss": 3 << 30},
    )  # fmt: skip
    return structs.replace(whole, **changes)


def test_the_slowest_is_the_one_that_hardly_waits_while_the_others_do() -> None:
    assert slowest([report(0), report(1, waited_share=0.05), report(2)]) == 1
    assert slowest([report(0), report(1, waited_share=0.35)]) is None, "a difference of 5 % is nothing"
    assert slowest([report(0)]) is None


def test_each_rank_has_its_line_with_the_same_columns_at_80() -> None:
    reports = [
        report(0, waiting_for="gradients"),
        report(1, waited_share=0.02),
        report(2, time=NOW - 200),
        report(3, ended="oom"),
    ]
    rows = [plain_text(row) for row in rank_rows(reports, 79, NOW)]
    assert rows[0].split() == ["rank", "host", "step", "in", "waits", "for", "rows/s", "memory", "seen"]
    assert rows[1].split() == [
        "0",
        "node-a",
        "7",
        "update/forward",
        "40%",
        "gradients",
        "25.60",
        "3.00",
        "GiB",
        "1",
        "s",
    ]
    assert rows[2].startswith("> slowest 1 ") and rows[3].startswith("! silent  2 ") and rows[4].startswith("oom ")
    assert len({row.index("node-a") for row in rows[1:5]}) == 1


def test_sixty_four_ranks_on_eight_hosts_fit_one_screen_and_the_worst_are_named() -> None:
    reports = [
        report(rank, host=f"node-{rank // 8}.cluster.example", time=NOW - (300 if rank == 60 else 1), size=64)
        for rank in range(64)
    ]
    reports[17] = structs.replace(reports[17], waited_share=0.01)
    rows = [plain_text(row) for row in rank_rows(reports, 79, NOW)]
    assert len(rows) <= ROOM
    assert rows[0].split() == ["host", "ranks", "step", "in", "waits", "rows/s", "memory", "seen"]
    assert rows[1].split() == ["node-0", "0-7", "7", "update/forward", "40%", "204.8", "3.00", "GiB", "1", "s"]
    assert rows[3].split()[:6] == [">", "slowest", "node-2", "16-23", "7", "update/forward"] and "1%-40%" in rows[3]
    assert rows[8].startswith("! silent   node-7  56-63 ") and rows[8].endswith("5 min")
    assert rows[10].split()[:2] == ["rank", "host"] and rows[11].startswith("> slowest 17 ")
    assert rows[12].startswith("! silent  60 ") and rows[13] == "" and len(rows) == 14


def test_of_very_many_hosts_and_bad_ranks_the_worst_are_shown() -> None:
    reports = [report(rank, host=f"node-{rank // 8}", ended="oom" if rank > 470 else "") for rank in range(512)]
    rows = [plain_text(row) for row in rank_rows(reports, 79, NOW)]
    assert len(rows) <= ROOM
    assert "and 55 more hosts" in rows and "and 37 more ranks that need a look" in rows
    assert sum(row.startswith("oom ") for row in rows) == 6 + SHOWN_RANKS
    assert rank_rows([], 80, NOW) == []


def test_hosts_go_by_their_first_names_where_these_differ() -> None:
    assert short_hosts(["a.one", "b.one"]) == {"a.one": "a", "b.one": "b"}
    assert short_hosts(["a.one", "a.two"]) == {"a.one": "a.one", "a.two": "a.two"}
    assert short_hosts(["x" * 30])["x" * 30] == "…" + "x" * 19


def test_the_rank_to_blame_says_so_or_is_gone_or_got_on_least_recently() -> None:
    here = report(0).host
    failed = report(1, ended="failed", code="plugin_failed", reason="shapes don't match", time=NOW)
    lost = report(2, ended="failed", code="lost_others", time=NOW - 5)
    assert to_blame([report(0, waiting_for="rows"), lost, failed], NOW) == failed
    assert blame_in_words(failed, NOW) == f"rank 1 on {here} failed in update/forward: shapes don't match"
    hung = report(3, since=NOW - 90)
    assert to_blame([report(0, waiting_for="rows", since=NOW - 100), hung], NOW) == hung
    assert blame_in_words(hung, NOW) == (
        f"rank 3 on {here} has not got on for 90 s in update/forward, and the others waited for it"
    )
    assert to_blame([report(0, waiting_for="rows")], NOW) is None


def test_a_rank_that_is_stopped_while_it_waits_is_to_blame_and_where_none_is_all_are_named() -> None:
    here: dict[str, object] = {"host": host_name(), "process": own_identity(), "waiting_for": "gradients"}
    stopped, waits = report(1, time=NOW - 15, **here), report(0, **here)
    assert to_blame([waits, stopped], NOW) == stopped
    assert blame_in_words(stopped, NOW) == (
        f"rank 1 on {host_name()} does nothing any more in update/forward, waiting for gradients: nothing was heard of"
        " it for 15 s: stopped, or its machine is stuck or gone"
    )
    assert to_blame([waits], NOW) is None
    assert standstill_in_words([waits, report(1, **here)]) == (
        f"ranks waited for each other in vain: rank 0 on {host_name()} in update/forward for gradients; "
        f"rank 1 on {host_name()} in update/forward for gradients"
    )
