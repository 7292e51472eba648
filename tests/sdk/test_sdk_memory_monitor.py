"""What a worker tells about memory, with a trainer and a device that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlhf_sdk.events import Alert, Event, MemoryRow, MemoryTable, PhaseEnded
from rlhf_sdk.memory_monitor import MemoryMonitor

GIB = 1 << 30


class Device:
    def __init__(self) -> None:
        self.figures = {"rss": GIB, "allocated": 10 * GIB, "limit": 80 * GIB}

    def start(self, seed: int) -> None: ...
    def remember_rng(self) -> None: ...
    def save_rng(self, directory: Path) -> None: ...
    def load_rng(self, directory: Path) -> None: ...
    def reset_peak(self) -> None: ...
    def release_cache(self) -> None: ...

    def memory(self) -> dict[str, int]:
        return dict(self.figures)

    def memory_snapshot(self) -> dict[str, Any]:
        return {"segments": [[GIB, "free"]]}

    def environment(self) -> dict[str, str]:
        return {}

    def is_out_of_memory(self, error: BaseException) -> bool:
        return True


class Told:
    """A monitor with everything that it tells."""

    def __init__(self, folder: Path) -> None:
        self.events: list[Event] = []
        self.device = Device()
        self.rows = [MemoryRow(role="policy", kind="weights", bytes=4 * GIB)]
        self.monitor = MemoryMonitor(folder, self.device, self.events.append, 2)
        self.monitor.table_of = lambda: list(self.rows)

    @property
    def tables(self) -> list[MemoryTable]:
        return [event for event in self.events if isinstance(event, MemoryTable)]

    @property
    def alerts(self) -> list[Alert]:
        return [event for event in self.events if isinstance(event, Alert)]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_the_table_is_told_after_the_first_step_with_what_is_unaccounted(told: Told) -> None:
    told.monitor.after_step(9)
    assert [(table.rows, table.unaccounted) for table in told.tables] == [(told.rows, 6 * GIB)]


def test_it_is_told_again_only_when_a_row_changes_by_a_hundredth_of_the_whole(told: Told) -> None:
    told.monitor.after_step(9)
    told.rows = [MemoryRow(role="policy", kind="weights", bytes=round(4.03 * GIB))]
    told.monitor.after_step(8)
    assert len(told.tables) == 1
    told.rows = [MemoryRow(role="policy", kind="weights", bytes=round(4.05 * GIB))]
    told.monitor.after_step(7)
    assert len(told.tables) == 2
    told.rows = [*told.rows, MemoryRow(role="policy", kind="optimizer", bytes=1)]
    told.monitor.after_step(6)
    assert len(told.tables) == 3


def test_gradients_are_seen_where_the_optimizer_begins(told: Told) -> None:
    """Between steps there are none."""
    gradients = MemoryRow(role="policy", kind="gradients", bytes=4 * GIB)
    told.rows.append(gradients)
    told.monitor.phase_begins("forward")
    assert not told.tables
    told.monitor.phase_begins("optimizer")
    told.rows.remove(gradients)
    told.monitor.after_step(9)
    assert [table.rows[-1] for table in told.tables] == [gradients]


def test_without_a_runtime_or_a_table_nothing_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    monitor = MemoryMonitor(tmp_path, None, events.append, 1)
    monitor.after_step(3)
    told = Told(tmp_path)
    told.monitor.table_of = None
    told.monitor.after_step(3)
    assert not events and not told.events


def test_phases_are_passed_on_and_judged_after_the_step(told: Told) -> None:
    near = PhaseEnded(name="update", seconds=1.0, memory={"peak": 79 * GIB, "limit": 80 * GIB})
    told.monitor.phase_ended(near)
    assert told.events == [near]
    told.monitor.after_step(3)
    assert [alert.code for alert in told.alerts] == ["memory_peak"]


def failure() -> RuntimeError:
    def allocate() -> None:
        raise RuntimeError("no room for sk-ant-abcdefghijklmnopqrstuvwxyz")

    try:
        allocate()
    except RuntimeError as error:
        return error
    raise AssertionError


def test_a_back_off_leaves_a_report_and_a_warning(told: Told, tmp_path: Path) -> None:
    told.monitor.backed_off(failure(), "update/backward", what="update", rows=8, smaller=4)
    (alert,) = told.alerts
    assert (alert.code, alert.severity, alert.phase) == ("out_of_memory_backed_off", "warning", "update/backward")
    assert alert.figures == {"rows": 8, "smaller": 4} and "micro_batch_size" in alert.advice
    report = json.loads((tmp_path / "memory" / "oom-2-1.json").read_text())
    assert (report["what"], report["rows"], report["smaller"]) == ("update", 8, 4)
    assert report["table"] == [{"role": "policy", "kind": "weights", "bytes": 4 * GIB}]
    assert (report["unaccounted"], report["allocator"]) == (6 * GIB, {"segments": [[GIB, "free"]]})
    assert "in allocate" in report["stack"][-1]
    assert "sk-ant" not in json.dumps(report)


def test_giving_up_is_reported_once_and_names_a_fix(told: Told, tmp_path: Path) -> None:
    error = failure()
    told.monitor.backed_off(error, "update/forward", what="update", rows=1, smaller=None)
    advice = told.monitor.ran_out(error, "update/forward")
    assert not told.alerts and "max_prompt_tokens" in advice and "memory/oom-2-1.json" in advice
    assert [path.name for path in (tmp_path / "memory").iterdir()] == ["oom-2-1.json"]


def test_an_error_that_nobody_backed_off_from_is_reported_at_the_end(told: Told, tmp_path: Path) -> None:
    advice = told.monitor.ran_out(failure(), "rollout")
    assert "rollout_batch_size" in advice and (tmp_path / "memory" / "oom-2-1.json").exists()


def test_a_report_that_can_not_be_written_changes_nothing_else(told: Told, tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("in the way")
    told.monitor.backed_off(failure(), "update", what="update", rows=8, smaller=4)
    assert [alert.code for alert in told.alerts] == ["out_of_memory_backed_off"]
    assert "oom-" not in told.alerts[0].advice
