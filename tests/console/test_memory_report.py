"""`rlhf memory`: figures by hand from made-up events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from rlhf_console.cli.main import app
from rlhf_console.memory_report import memory_report, planned_by_phase, report_text
from rlhf_console.runs.fold import RunSummary, fold
from rlhf_sdk.events import Event, MemoryRow, MemoryTable, PhaseEnded, encode_line
from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.run_record import RunRecord, encode_record

MIB, GIB = 1 << 20, 1 << 30
PLAN = [
    {"what": "framework", "phase": "always", "bytes": 100 * MIB},
    {"what": "weights: policy", "phase": "always", "bytes": 40 * MIB},
    {"what": "KV cache", "phase": "rollout", "bytes": 20 * MIB},
    {"what": "activations: policy", "phase": "backward", "bytes": 60 * MIB},
    {"what": "backward buffers", "phase": "backward", "bytes": 4 * MIB},
    {"what": "peak", "phase": "backward", "bytes": 204 * MIB},
]
TABLE = MemoryTable(
    rows=[
        MemoryRow(role="policy", kind="weights", bytes=40 * MIB),
        MemoryRow(role="policy", kind="optimizer", bytes=80 * MIB),
        MemoryRow(role="", kind="experience", bytes=MIB),
    ],
    unaccounted=7 * MIB,
)


def phase(step: int, name: str, count: int = 1, **memory: int) -> PhaseEnded:
    in_bytes = {key: value * MIB for key, value in memory.items()}
    return PhaseEnded(name=name, seconds=2.0, memory=in_bytes, count=count, step=step)


def report_of(events: list[Event], newest: MachineSample | None = None) -> dict[str, Any]:
    return memory_report(fold(RunSummary(), events), PLAN, newest)


def test_the_plan_by_phase_is_what_stays_and_what_the_phase_adds() -> None:
    assert planned_by_phase(PLAN, with_framework=True) == {"rollout": 160 * MIB, "backward": 204 * MIB}
    assert planned_by_phase(PLAN, with_framework=False) == {"rollout": 60 * MIB, "backward": 104 * MIB}


def test_on_a_device_the_highest_peak_of_each_phase_stands_beside_its_plan() -> None:
    report = report_of(
        [
            phase(1, "update/backward", 4, rss=300, peak=90, limit=1000, others=200),
            phase(1, "update", rss=300, peak=90, limit=1000, others=200),
            phase(2, "update/backward", 4, rss=300, peak=80, limit=1000, others=200),
            phase(2, "checkpoint", rss=300, rss_peak=300),
            TABLE,
        ]
    )
    backward = report["phases"]["update/backward"]
    assert (backward["peak"], backward["planned"], backward["times"]) == (90 * MIB, 104 * MIB, 8)
    assert report["phases"]["update"]["planned"] is None
    assert (report["where"], report["peak"], report["peak_phase"]) == ("device", 90 * MIB, "update/backward")
    assert (report["limit"], report["steps_left"]) == (800 * MIB, None)
    assert report["table"]["policy"] == {"weights": 40 * MIB, "optimizer": 80 * MIB}
    text = report_text(report)
    assert report["phases"]["checkpoint"]["peak"] == 0
    for said in ("104.0 MiB  +16 %", "accounted: 121.0 MiB", "unaccounted: 7.0 MiB", "no rising trend"):
        assert said in text


def test_without_a_device_it_is_the_process_and_its_limit() -> None:
    newest = MachineSample(time=0.0, attempt=1, rss=GIB, memory_available=3 * GIB, disk_free=0)
    events: list[Event] = [phase(1, "rollout", rss=200, rss_peak=240)]
    report = report_of(events, newest)
    assert (report["where"], report["peak"], report["limit"]) == ("process", 240 * MIB, 4 * GIB)
    assert report["phases"]["rollout"]["planned"] == 160 * MIB
    in_a_container = msgspec.structs.replace(newest, cgroup_limit=2 * GIB)
    assert report_of(events, in_a_container)["limit"] == 2 * GIB


def test_a_rising_trend_is_forecast() -> None:
    report = report_of([phase(step, "update", rss=1, peak=100 + 10 * step, limit=1000) for step in range(1, 21)])
    assert report["steps_left"] == pytest.approx(70.0)
    assert "runs out in about 70 steps" in report_text(report)


def test_the_verb_prints_it_and_its_json(tmp_path: Path) -> None:
    run = tmp_path / "gone-20261121-101500-3fa9"
    run.mkdir()
    record = RunRecord(id=run.name, plugin="no-such-plugin", config={}, created=0.0)
    (run / "run.json").write_bytes(encode_record(record))
    (run / "events.jsonl").write_bytes(b"".join(map(encode_line, [phase(1, "rollout", rss=200), TABLE])))
    printed = CliRunner().invoke(app, ["memory", "gone", "--runs", str(tmp_path)]).output
    assert "policy" in printed and "rollout" in printed and "200.0 MiB" in printed
    data = json.loads(CliRunner().invoke(app, ["memory", "gone", "--runs", str(tmp_path), "--json"]).output)
    assert data["phases"]["rollout"]["peak"] == 200 * MIB and data["unaccounted"] == 7 * MIB
