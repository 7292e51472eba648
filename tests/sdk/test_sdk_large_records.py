"""A gigabyte of events: opening, state, following, last events and resuming read a little of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_sdk import launch, tail
from rlhf_sdk.checkpoints import list_checkpoints
from rlhf_sdk.events import MetricsLogged, encode_line
from rlhf_sdk.journal import Journal, LineFile, last_attempt
from rlhf_sdk.live_values import values_to_repeat
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import ENDED, LIVE, State
from rlhf_sdk.tail import Tail, newest_first

GIGABYTE = 1 << 30
LITTLE = 1 << 20
"""Bytes that may be read of it."""


def write_events(file: Path, size: int) -> int:
    """Real lines at the end and a hole of zeros before them, as one line; returns the last line's number."""
    events = [MetricsLogged(values={"x": 1.0}, seconds=1.0, seq=n, attempt=3, step=n) for n in range(1, 5001)]
    lines = b"".join(encode_line(event) for event in events)
    with file.open("wb") as stream:
        stream.truncate(size - len(lines) - 1)
        stream.seek(0, os.SEEK_END)
        stream.write(b"\n" + lines)
    return len(events)


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What is read by `os.pread`, by which the readers of a run's records read."""
    counted: list[int] = []
    real = os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        data = real(descriptor, size, offset)
        counted.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", pread)
    yield counted


def test_the_end_of_a_gigabyte_is_found_without_reading_it(tmp_path: Path, read_bytes: list[int]) -> None:
    events, samples = tmp_path / "events.jsonl", tmp_path / "samples.jsonl"
    newest = write_events(events, GIGABYTE)
    with events.open("ab") as stream:
        stream.write(b'{"kind": "metr')
    assert last_attempt(events) == 3
    journal = Journal(events, samples, attempt=4)
    assert (journal.seq, events.stat().st_size) == (newest, GIGABYTE)
    assert [event.seq for event in RunDir(tmp_path).last_events(50)] == list(range(newest - 49, newest + 1))
    assert values_to_repeat(events, after=newest - 100) == []
    follower = Tail(events, lambda line: line)
    follower.skip()
    assert follower.read() == []
    LineFile(events).append(b"{}\n")
    assert follower.read() == [b"{}"] and follower.read() == []
    assert sum(read_bytes) < LITTLE


def figures_of(pid: int) -> dict[str, int]:
    """Bytes read so far and the peak of memory; empty once the process is gone."""
    try:
        lines = [
            *Path(f"/proc/{pid}/io").read_text().splitlines(),
            *Path(f"/proc/{pid}/status").read_text().splitlines(),
        ]
    except OSError:
        return {}
    figures = {name: value.split()[0] for name, _, value in (line.partition(":") for line in lines) if value.split()}
    return {"read": int(figures["rchar"]), "peak": int(figures.get("VmHWM", 0)) << 10}


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs /proc")
def test_a_run_with_a_gigabyte_of_events_goes_on(
    begin: Callable[..., RunDir], folded: Callable[[RunDir], dict[int, dict[str, float]]]
) -> None:
    run = begin(steps=30, delay_seconds=0.05, checkpoint_every=1)
    while not list_checkpoints(run.checkpoints):
        time.sleep(0.01)
    launch.send_signal(run, signal.SIGKILL)
    assert launch.wait(run) is not None
    lines = run.events_file.read_bytes()
    with run.events_file.open("wb") as stream:
        stream.truncate(GIGABYTE)
        stream.seek(0, os.SEEK_END)
        stream.write(b"\n" + lines)
    status = launch.resume(run)
    assert status is not None and status.worker is not None
    seen: list[dict[str, int]] = []
    while run.exit() is None:
        assert run.state() in LIVE | ENDED
        seen += [figures for pid in (status.worker.pid, status.shim.pid) if (figures := figures_of(pid))]
        time.sleep(0.02)
    assert run.state() is State.FINISHED
    assert max(figures["read"] for figures in seen) < GIGABYTE // 8
    assert max(figures["peak"] for figures in seen) < GIGABYTE // 8
    with run.events_file.open("rb") as stream:
        stream.seek(GIGABYTE + 1)
        rest = stream.read()
    run.events_file.write_bytes(rest)
    assert sorted(folded(run)) == list(range(1, 31))


def test_a_stretch_of_damaged_lines_hides_nothing_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "CHUNK", 64)
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"rubbish\n" * 100 + b"1\n")
    lines = Tail(file, msgspec.json.Decoder(int).decode)
    assert list(lines) == [1] and lines.damaged == 100


LINES = st.lists(st.binary(max_size=20).map(lambda line: b"{" + line.replace(b"\n", b"")), max_size=12)


@settings(deadline=None, max_examples=60)
@given(LINES, st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), st.integers(1, 9), st.integers(8, 30))
def test_newest_first_is_the_file_backwards_without_what_is_half_written_or_too_long(
    lines: list[bytes], half: bytes, block: int, longest: int
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "BLOCK", block)
        patch.setattr(tail, "LINE_BYTES", longest)
        file = Path(folder) / "lines"
        file.write_bytes(b"".join(line + b"\n" for line in lines) + half)
        found = list(newest_first(file))
    kept = [line for line in reversed(lines) if len(line) <= longest]
    short = [line for line in found if len(line) <= longest]
    assert short == kept and all(len(line) <= 2 * (longest + block) for line in found)
