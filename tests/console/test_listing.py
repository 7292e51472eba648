"""What a list and a search read: the two ends of long runs, and of one run's files no other's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.console.material import write_run
from rlhf_console.runs import store
from rlhf_console.runs.listing import READ_WHOLE_BYTES, listed_runs
from rlhf_console.runs.store import LiveRun, find
from rlhf_sdk.run_dir import RunDir

ROWS, METRICS = 12_000, 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_run(tmp_path, "long", rows=ROWS, metrics=METRICS)
    write_run(tmp_path, "short", rows=30, metrics=METRICS)
    return tmp_path


def test_a_long_run_is_listed_by_its_ends_with_the_figures_of_the_whole(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {name: LiveRun.open(RunDir(root / name)).catch_up().summary for name in ("long", "short")}
    assert (root / "long" / "events.jsonl").stat().st_size > 2 * READ_WHOLE_BYTES
    lengths, pread = list[int](), os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        data = pread(descriptor, size, offset)
        lengths.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counted)
    runs, problems = listed_runs(root)
    assert problems == [] and sum(lengths) < READ_WHOLE_BYTES
    for run in runs:
        known = whole[run.record.id]
        assert (run.summary.step, run.summary.total_steps) == (known.step, known.total_steps)
        assert run.summary.attempt == known.attempt == 1
        latest = {name: series.last for name, series in known.metrics.items()}
        assert {name: series.last for name, series in run.summary.metrics.items()} == latest


def test_a_run_is_found_by_its_id_without_a_look_at_the_others(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = list[str]()

    def heading(run: RunDir) -> None:
        opened.append(run.id)
        raise FileNotFoundError

    monkeypatch.setattr(store, "read_heading", heading)
    assert find(root, "short").record.id == "short" and opened == []
    assert find(root, "sho").record.id == "short" and sorted(opened) == ["long", "short"]
