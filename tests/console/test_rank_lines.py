"""What is shown of a run's ranks: who is slow, who is silent, who needs a look where not all can be shown."""

from __future__ import annotations

from msgspec import structs

from rlhf_console.runs.ranks import rank_lines, slowest
from rlhf_console.tui.drawing.cells import plain_text
from rlhf_console.tui.drawing.ranks import SHOWN, rank_rows
from rlhf_sdk.ranked.reports import RankReport, blame_in_words, to_blame
from rlhf_sdk.run_record import ProcessIdentity

NOW = 1_000_000.0
GONE = ProcessIdentity(pid=2**22 - 1, start="1")


def report(rank: int, **changes: object) -> RankReport:
    whole = RankReport(
        rank=rank, size=4, host="node-a", process=GONE, attempt=1, time=NOW - 1, step=7, at="update/forward",
        since=NOW - 2, waited_share=0.4, memory={"rss": 3 << 30},
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
    rows = [plain_text(row) for row in rank_rows(rank_lines(reports, NOW), 80)]
    assert rows[0].split() == ["rank", "host", "step", "in", "waits", "for", "waited", "memory", "seen"]
    assert rows[1].split() == ["0", "node-a", "7", "update/forward", "gradients", "40%", "3.00", "GiB", "1", "s"]
    assert rows[2].startswith("> slowest  1 ") and rows[3].startswith("! silent   2 ") and rows[4].startswith("oom ")
    assert len({row.index("node-a") for row in rows[1:5]}) == 1


def test_of_many_ranks_those_that_need_a_look_are_shown() -> None:
    reports = [report(rank, time=NOW - 300 if rank == 60 else NOW - 1) for rank in range(64)]
    rows = [plain_text(row) for row in rank_rows(rank_lines(reports, NOW), 120)]
    assert len(rows) == SHOWN + 3
    assert any(row.startswith("! silent  60 ") for row in rows)
    assert rows[SHOWN + 1] == f"and {64 - SHOWN} more"
    assert rank_rows([], 80) == []


def test_the_rank_to_blame_says_so_or_is_gone_or_got_on_least_recently() -> None:
    here = report(0).host
    failed = report(1, ended="failed", code="plugin_failed", reason="shapes don't match", time=NOW)
    lost = report(2, ended="failed", code="lost_others", time=NOW - 5)
    assert to_blame([report(0, waiting_for="rows"), lost, failed]) == failed
    assert blame_in_words(failed, NOW) == f"rank 1 on {here} failed in update/forward: shapes don't match"
    hung = report(3, since=NOW - 90)
    assert to_blame([report(0, waiting_for="rows", since=NOW - 100), hung]) == hung
    assert blame_in_words(hung, NOW) == (
        f"rank 3 on {here} has not got on for 90 s in update/forward, and the others waited for it"
    )
    assert to_blame([report(0, waiting_for="rows")]) is None
