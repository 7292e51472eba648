import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf_console.cli.watching import shortened
from rlhf_console.printable import printable
from rlhf_console.render import duration, folded, number, result, table
from rlhf_console.runs.fold import RunSummary, fold
from rlhf_sdk.events import CheckpointSaved, Event, MetricsLogged, PhaseEnded, Started, ValueSet


def logged(step: int, value: float, attempt: int = 1) -> Event:
    return MetricsLogged(values={"loss": value}, seconds=2.0, step=step, attempt=attempt, time=100.0 + step)


def test_a_new_attempt_supersedes_what_came_after_its_checkpoint() -> None:
    saved = [CheckpointSaved(name=f"step-{n:08}", bytes=1, seconds=0.1, step=n) for n in (2, 4)]
    first = [Started(plugin="p", total_steps=6), *(logged(n, n) for n in range(1, 5)), *saved]
    again = [Started(plugin="p", total_steps=6, step=2, attempt=2), logged(3, 30.0, 2), logged(4, 40.0, 2)]
    summary = fold(RunSummary(), [*first, *again])
    assert list(summary.metrics["loss"].steps) == [1, 2, 3, 4]
    assert list(summary.metrics["loss"].values) == [1, 2, 30.0, 40.0]
    assert [checkpoint.name for checkpoint in summary.checkpoints] == ["step-00000002"]
    assert summary.attempt == 2
    assert summary.eta_seconds == 4.0


def test_values_set_after_the_checkpoint_count_when_they_are_set_again() -> None:
    def change(step: int, seq: int, *, again: bool = False) -> Event:
        return ValueSet(key="lr", value=step, previous=0, step=step, seq=seq, again=again)

    first = [Started(plugin="p", total_steps=6), change(1, 5), change(3, 9)]
    resumed = Started(plugin="p", total_steps=6, step=2, attempt=2, resumed_seq=7)
    assert [value.seq for value in fold(RunSummary(), [*first, resumed]).values_set] == [5]
    again = fold(RunSummary(), [*first, resumed, change(3, 12, again=True)])
    assert [value.seq for value in again.values_set] == [5, 12]


def test_a_checkpoint_inside_a_step_takes_the_place_of_the_one_at_its_beginning() -> None:
    saved = [CheckpointSaved(name="step-00000002", bytes=size, seconds=0.1, step=2) for size in (1, 9)]
    assert [checkpoint.bytes for checkpoint in fold(RunSummary(), saved).checkpoints] == [9]


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(-5, 5)), max_size=30), st.integers(0, 30))
def test_folding_in_pieces_is_folding_at_once(points: list[tuple[int, float]], cut: int) -> None:
    events = [logged(step, value) for step, value in points]
    whole = fold(RunSummary(), events)
    assert fold(fold(RunSummary(), events[:cut]), events[cut:]) == whole
    steps = list(whole.metrics["loss"].steps) if points else []
    assert steps == sorted(set(steps))


def test_memory_of_a_step_is_its_highest_phase() -> None:
    ends = [PhaseEnded(name=n, seconds=1.0, memory={"rss": m}, step=3) for n, m in [("a", 5), ("b", 9), ("c", 7)]]
    summary = fold(RunSummary(), ends)
    assert list(summary.memory.values) == [9.0]
    assert summary.phases["c"].memory == {"rss": 7}


def test_hostile_text_is_shown_and_not_obeyed() -> None:
    assert printable("\x1b[2J\u202ea\u200bb\n") == "\\x1b[2J\\u202ea\\u200bb\\n"
    assert printable("plain é ✓") == "plain é ✓"
    assert printable("a\nb", keep_newlines=True) == "a\nb"


def test_figures_in_words() -> None:
    assert [duration(s) for s in (None, 0, 59, 61, 3600, 90061)] == ["-", "0 s", "59 s", "1 min 1 s", "1 h", "1 d 1 h"]
    assert [number(x) for x in (1, 0.12345, 1e-5, math.nan, None, "x")] == ["1", "0.123", "1e-05", "nan", "-", "x"]
    assert table(["a", "b"], [["x", 1], ["long", 22]]).splitlines()[2:] == ["x      1", "long  22"]


def test_a_wide_table_is_folded_and_every_block_names_its_rows() -> None:
    columns, rows = ["policy", "first", "second", "third"], [["sft", 1, 22, 333], ["a long name", 4, 5, 6]]
    blocks = folded(columns, rows, 27).split("\n\n")
    assert [block.split("\n")[0].split() for block in blocks] == [["policy", "first", "second"], ["policy", "third"]]
    assert all(
        [line.split("  ")[0].strip() for line in block.split("\n")[2:]] == ["sft", "a long name"] for block in blocks
    )
    assert max(map(len, "\n".join(blocks).split("\n"))) <= 27
    assert folded(columns, rows, 200) == table(columns, rows)
    assert len(folded(columns, rows, 1).split("\n\n")) == 3


def test_a_result_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    data = {
        "tables": [
            {"title": "T", "columns": ["policy", *(f"column {n}" for n in range(6))], "rows": [["sft", *range(6)]]}
        ]
    }
    assert max(map(len, result("evaluation", data).split("\n"))) <= 40


def test_figures_are_cut_before_anything_else_is_squeezed() -> None:
    assert shortened("score 0.619  sum 10.640", 12) == "score 0.619…"
    assert shortened("score 0.619", 11) == "score 0.619"
