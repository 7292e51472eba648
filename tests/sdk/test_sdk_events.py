"""Events and samples survive the way through a file, whatever is in them."""

from __future__ import annotations

import math
import string
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf_sdk.events import (
    Alert,
    AnyEvent,
    ChildRun,
    Event,
    MetricsLogged,
    Result,
    Sample,
    UnknownEvent,
    decode_event,
    decode_sample,
    encode_line,
)
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.tail import Tail, last_lines

NAMES = st.text(string.ascii_letters + "/_é", min_size=1, max_size=8)
NUMBERS = st.dictionaries(NAMES, st.floats(), max_size=4)
TEXT = st.text(max_size=30)


def same(left: Any, right: Any) -> bool:
    """Equality in which NaN equals NaN."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, msgspec.Struct):
        return type(left) is type(right) and same(msgspec.structs.asdict(left), msgspec.structs.asdict(right))
    return bool(left == right)


@given(NUMBERS, st.floats(), st.integers(0, 2**53), st.integers(1, 9))
def test_metrics_come_back_with_every_number(values: dict[str, float], seconds: float, seq: int, attempt: int) -> None:
    event = MetricsLogged(values=values, seconds=seconds, seq=seq, attempt=attempt, step=3, time=1.5)
    assert same(decode_event(encode_line(event)), event)


@given(TEXT, TEXT, NUMBERS, st.booleans())
def test_samples_come_back_with_every_character(
    prompt: str, response: str, metrics: dict[str, float], ended: bool
) -> None:
    sample = Sample(tag="rollout", index=2, prompt=prompt, response=response, metrics=metrics, ended=ended)
    line = encode_line(sample)
    assert line.count(b"\n") == 1
    assert same(decode_sample(line), sample)


def test_non_finite_numbers_are_the_agreed_strings() -> None:
    line = encode_line(MetricsLogged(values={"a": math.nan, "b": math.inf, "c": -math.inf}, seconds=0.0))
    assert msgspec.json.decode(line)["values"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}


def test_text_that_looks_like_a_number_stays_text() -> None:
    event = Alert(severity="info", code="NaN", message="Infinity")
    assert decode_event(encode_line(event)) == event


@given(st.dictionaries(NAMES, st.integers() | TEXT, max_size=4), st.integers(0, 99))
def test_an_unknown_kind_keeps_its_fields(fields: dict[str, Any], seq: int) -> None:
    line = msgspec.json.encode({**fields, "kind": "from_the_future", "seq": seq})
    event = decode_event(line)
    assert isinstance(event, UnknownEvent)
    assert event.original_kind == "from_the_future" and event.seq == seq
    assert event.fields == {**fields, "kind": "from_the_future", "seq": seq}


def test_a_newer_field_of_a_known_kind_is_ignored() -> None:
    line = msgspec.json.encode({"kind": "child", "stage": "sft", "run_id": "a", "state": "running", "colour": 3})
    assert decode_event(line) == ChildRun(stage="sft", run_id="a", state="running")


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b"3", b"\xff"])
def test_what_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode_event(line)


def test_every_kind_has_a_tag_of_its_own() -> None:
    kinds = AnyEvent.__args__
    assert len({kind.__struct_config__.tag for kind in kinds}) == len(kinds)
    assert all(issubclass(kind, Event) for kind in kinds)


def test_a_half_written_last_line_is_not_yet_written(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    whole = encode_line(Result(name="table", data={"rows": [1, 2]}, seq=1))
    late = encode_line(Result(name="late", data={}, seq=2))
    run.events_file.write_bytes(whole + late[:10])
    tail = run.events()
    assert [event.seq for event in tail.read()] == [1]
    assert tail.read() == [] and [event.seq for event in run.last_events(5)] == [1]
    with run.events_file.open("ab") as stream:
        stream.write(late[10:])
    assert [event.seq for event in tail.read()] == [2]


def test_damaged_lines_are_counted_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"garbage\n" + encode_line(ChildRun(stage="a", run_id="b", state="c", seq=7)))
    tail: Tail[Event] = Tail(path, decode_event)
    assert [event.seq for event in tail.read()] == [7] and tail.damaged == 1


def test_a_missing_file_is_empty_and_a_shorter_one_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    tail: Tail[bytes] = Tail(path, bytes)
    assert tail.read() == [] and last_lines(path, 3) == []
    path.write_bytes(b"one\ntwo\n")
    assert tail.read() == [b"one", b"two"]
    path.write_bytes(b"new\n")
    assert tail.read() == [b"new"]


LINES = st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")), max_size=30)


@given(LINES, st.integers(1, 12))
def test_last_lines_are_the_end(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], count: int) -> None:
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(b"".join(line + b"\n" for line in lines) + b"half")
    assert last_lines(path, count) == lines[-count:]
    assert list(Tail(path, bytes)) == lines


def test_long_files_and_long_lines_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    lines = [b"a" * 3_000_000, b"b" * 5_000_000, b"c"]
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert list(Tail(path, bytes)) == lines
    assert last_lines(path, 2) == lines[1:]
