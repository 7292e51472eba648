"""Events that nobody should write never take the console down: wrong types, missing fields, huge and hostile values."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import HOSTILE, append, write_record
from rlhf_console.headlines import Declared
from rlhf_console.runs.focus import Focus
from rlhf_console.runs.store import LiveRun
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.plot import Frame, Plot
from rlhf_console.tui.drawing.run_head import head_of, head_rows
from rlhf_console.tui.drawing.run_panels import RunLines, marks_of, run_panels
from rlhf_sdk.events import Started, encode_line
from rlhf_sdk.run_dir import RunDir

KINDS = (
    "started", "state", "metrics", "phase", "progress", "note", "memory_table", "alert", "check", "checkpoint", "ack",
    "value_set", "child", "result", "finished", "new_kind",
)  # fmt: skip
FIELDS = (
    "plugin", "total_steps", "resumed_seq", "state", "reason", "values", "seconds", "name", "memory", "count", "what",
    "done", "total", "text", "rows", "unaccounted", "severity", "code", "message", "advice", "phase", "figures",
    "status", "figure", "tolerance", "explanation", "bytes", "command_id", "command", "outcome", "details", "key",
    "value", "previous", "stage", "run_id", "data", "exit_code", "schema", "seq", "attempt", "time", "step",
)  # fmt: skip
NUMBERS = (0, -1, 7, 1.5, 2**53, 2**63, -(2**70), 10**400, 1e308, -1e308, 5e-324, "NaN", "-Infinity", True)
TEXTS = (
    "",
    HOSTILE,
    "x" * 3000,
    "error",
    "warning",
    "ok",
    "fail",
    "running",
    "paused",
    "a/b",
    "\u0000\ud7ff",
    "日本語",
)
BITS: tuple[Any, ...] = (
    *NUMBERS,
    *TEXTS,
    None,
    [],
    {},
    [[[1]]],
    {"policy": 1e308, "kl/sequence_nats": "NaN", "": 3, "big": 10**400},
)
USUAL: dict[str, dict[str, Any]] = {
    "metrics": {"values": {"kl/sequence_nats": 1.0, "reward/score_mean": 2.0}, "seconds": 1.0},
    "phase": {"name": "rollout", "seconds": 1.0, "memory": {"rss": 5}},
    "memory_table": {"rows": [{"role": "policy", "kind": "weights", "bytes": 5}], "unaccounted": 0},
    "alert": {"severity": "error", "code": "c", "message": "m"},
    "check": {"name": "n", "status": "ok", "figure": 1.0, "tolerance": 1.0},
    "checkpoint": {"name": "n", "bytes": 1, "seconds": 1.0},
    "started": {"plugin": "ppo", "total_steps": 9},
    "progress": {"what": "w", "done": 1, "total": 2},
    "value_set": {"key": "k", "value": 1, "previous": 0},
    "result": {"name": "n", "data": {"tables": []}},
    "child": {"stage": "s", "run_id": "r", "state": "running"},
}


def spoiled_line(chance: random.Random) -> bytes:
    """An event as it should be, but for a few fields; now and then no event at all."""
    kind = chance.choice(KINDS)
    event: dict[str, Any] = {"kind": kind, "step": chance.randrange(50), "time": 1.8e9, **USUAL.get(kind, {})}
    for _ in range(chance.randrange(3)):
        event[chance.choice((*event, chance.choice(FIELDS)))] = chance.choice(BITS)
    line = json.dumps(event).encode() + b"\n"
    return chance.choices((line, line[: len(line) // 2], b"\xff\xfe" + line, b"[" * 2000 + b"\n"), (30, 1, 1, 1))[0]


def spoiled_lines(seed: int, count: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    return (spoiled_line(chance) for _ in range(count))


def drawn(focus: Focus) -> list[str]:
    """Head and charts of what was read, drawn without a screen."""
    run, options = focus.shown, ChartOptions()
    rows = head_rows(head_of(focus, Declared()), 100)
    for panel in run_panels(run, Declared()):
        lines = RunLines(run).of(panel, options)
        frame = Frame(run.live.summary.total_steps, options=options, marks=marks_of(run.live.summary, "step"))
        rows += Plot(panel.title).rows(lines, frame, 60, 12)
    return ["".join(text for text, _ in row) for row in rows]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_was_written_is_folded_and_drawn(seed: int) -> None:
    with TemporaryDirectory() as folder:
        directory = write_record(Path(folder), "fuzzed")
        append(directory, "events.jsonl", *spoiled_lines(seed, 40))
        focus = Focus(LiveRun.open(RunDir(directory)))
        while focus.read():
            pass
        assert not {"\x1b", "\x07", "\u202e"} & set("".join(drawn(focus)))


@pytest.mark.parametrize("seed", [3, 8])
def test_no_view_falls_over_what_was_written(tmp_path: Path, seed: int) -> None:
    directory = write_record(tmp_path, "fuzzed")
    append(directory, "events.jsonl", encode_line(Started(plugin="ppo", total_steps=50)), *spoiled_lines(seed, 400))

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "fuzzed", "Charts")
        for key in ("w", "s", "l", *"2345678"):
            await pilot.press(key)
            await pilot.pause(0.05)
            append(directory, "events.jsonl", *spoiled_lines(seed + ord(key), 20))
            assert not {"\x1b", "\x07", "\u202e"} & set("\n".join(screen_lines(pilot)))
        await pilot.press("1")
        await shown(pilot, "fuzzed", "Charts")

    drive(tmp_path, script, run="fuzzed")
