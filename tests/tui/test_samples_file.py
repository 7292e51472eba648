"""Samples by their places in the file: what is read of it, and what is found."""

import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recorded import append
from rlhf_console.runs.lines import PIECE, Lines
from rlhf_console.runs.sample_query import ORDERS, TITLE_ORDER, Query, select, step_of_update, steps_of
from rlhf_console.runs.samples_file import SamplesFile
from rlhf_console.runs.title_copy import title_copy
from rlhf_sdk.events import ASKED, Sample, encode_line

NEVER_RESUMED = {1: 0}
NEWEST = Query()


def sample(seq: int, **fields: Any) -> Sample:
    prompt = f"TITLE: post {seq % 5}\nTL;DR:"
    said = {"tag": "rollout", "index": seq, "step": seq // 4, "prompt": prompt, "response": f"r{seq}"}
    return Sample(seq=seq, **(said | fields))  # type: ignore[arg-type]


def written(directory: Path, samples: list[Sample]) -> SamplesFile:
    append(directory, "samples.jsonl", *map(encode_line, samples))
    return SamplesFile(directory / "samples.jsonl")


def read_all(file: SamplesFile) -> SamplesFile:
    file.read_all()
    return file


def seqs(file: SamplesFile, query: Query = NEWEST, resumed: dict[int, int] = NEVER_RESUMED) -> list[int]:
    found = [file.sample(row) for row in select(file, query, resumed)]
    return [sample.seq for sample in found if sample is not None]


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many bytes were read since it was last asked."""
    counted, pread = [0], os.pread

    def counting(descriptor: int, size: int, place: int) -> bytes:
        data = pread(descriptor, size, place)
        counted[0] += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting)

    def since() -> int:
        count, counted[0] = counted[0], 0
        return count

    return since


def test_rows_are_the_lines_whatever_the_file_does(tmp_path: Path) -> None:
    path, chance, expected = tmp_path / "lines", random.Random(1), list[bytes]()
    path.write_bytes(b"")
    lines, unfinished = Lines(path), b""
    for _ in range(60):
        text = b"".join(chance.choice([b"a", b"\n", b"bb\n", b"c" * 300_000]) for _ in range(chance.randrange(6)))
        with path.open("ab") as stream:
            stream.write(text)
        *whole, unfinished = (unfinished + text).split(b"\n")
        expected += whole
        while lines.read(older=chance.random() < 0.9):
            pass
    while lines.read(older=True):
        pass
    assert lines.end - lines.first == len(expected)
    assert [lines.texts(range(row, row + 1))[0] for row in range(lines.first, lines.end)] == expected
    assert lines.texts(range(lines.end - 1, lines.first - 1, -1)) == expected[::-1]
    path.write_bytes(b"new\n")
    lines.read(older=True)
    assert lines.texts(range(lines.first, lines.end)) == [b"new"]


def test_a_large_file_opens_at_its_end_and_is_looked_at_once(tmp_path: Path, bytes_read: Callable[[], int]) -> None:
    file = written(tmp_path, [sample(seq, response="word " * 200) for seq in range(1, 4001)])
    size = file.lines.path.stat().st_size
    file.read()
    assert file.newest is not None and file.newest.seq == 4000
    assert bytes_read() < 2 * PIECE < size
    file.browse()
    while file.lines.share < 1.0:
        file.read()
    assert len(select(file, Query(), NEVER_RESUMED)) == 4000
    listed = bytes_read()
    assert listed <= size + 3 * PIECE
    while file.read():
        pass
    assert listed + bytes_read() <= 2 * size + 3 * PIECE
    screenful = [file.sample(row) for row in select(file, Query("lowest score"), NEVER_RESUMED)[:40]]
    assert len(screenful) == 40
    assert bytes_read() < 100 * (size // 4000)
    append(tmp_path, "samples.jsonl", encode_line(sample(4001)))
    while file.read():
        pass
    assert bytes_read() < 1000
    assert seqs(file)[0] == 4001


def test_orders_and_choices(tmp_path: Path) -> None:
    figures = [3.0, float("nan"), 1.0, None, 2.0]
    rows = [
        sample(
            seq, ended=seq != 3, tag="other" if seq == 5 else "rollout", response=f"post {seq} says Ünder",
            metrics={"kl/sequence_nats": -float(seq), "response_tokens": float(seq % 3)}
            | ({} if figures[seq - 1] is None else {"score": figures[seq - 1]}),
        )
        for seq in range(1, 6)
    ]  # fmt: skip
    file = written(tmp_path, rows)
    append(tmp_path, "samples.jsonl", b"damaged\n", b'{"tag": 3}\n', b'{"half": ')
    read_all(file)
    file.measure_title_copies()
    file.search("POST ünder 4")
    read_all(file)
    assert {order: seqs(file, Query(order)) for order in ORDERS if order != "newest"} == {
        "lowest score": [3, 5, 1, 4, 2],
        "highest KL": [1, 2, 3, 4, 5],
        "longest": [5, 2, 4, 1, 3],
        "no EOS": [3],
        TITLE_ORDER: [4, 3, 2, 1, 5],
    }
    assert seqs(file, Query(words="POST ünder 4")) == [4]
    assert seqs(file, Query(tag="other")) == [5]
    assert seqs(file, Query(step=0)) == [3, 2, 1]
    assert seqs(file, Query(prompt=hash(rows[1].prompt))) == [2]
    assert steps_of(file) == [0, 1]
    assert [step_of_update(file, update) for update in (1, 2, 9)] == [0, 1, 1]


def test_what_a_later_attempt_went_on_before_is_superseded(tmp_path: Path) -> None:
    first = [sample(seq, attempt=1, step=seq) for seq in range(1, 6)]
    rows = [*first, sample(6, attempt=1, tag=ASKED), *(sample(seq, attempt=2, step=seq - 3) for seq in (7, 8))]
    file = read_all(written(tmp_path, rows))
    assert seqs(file, resumed={1: 0, 2: 4}) == [8, 7, 6, 4, 3, 2, 1]
    assert seqs(file, resumed={1: 0, 2: 4, 3: 2}) == [6, 2, 1]


def test_hostile_lines_are_damaged_and_harm_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, [sample(1)])
    fields = msgspec.to_builtins(sample(2))
    lines = [
        fields | {"step": 10**30}, fields | {"step": -1}, fields | {"prompt": None},
        fields | {"metrics": {"score": {}}},
        fields | {"metrics": {f"m{number}": 1.0 for number in range(5000)}},
    ]  # fmt: skip
    append(tmp_path, "samples.jsonl", *(msgspec.json.encode(line) + b"\n" for line in lines), b"[" * 99_999 + b"\n")
    read_all(file)
    assert len(seqs(file)) >= 1
    assert len(file.columns.figures) <= 32
    assert len(select(file, Query("longest"), NEVER_RESUMED)) == 3


@pytest.mark.parametrize(
    ("title", "response", "share"),
    [
        ("my sister won't call", "My sister , won't you ?", 0.75),
        ("a b c d", "d c b a", 0.25),
        ("a b", "nothing", 0.0),
    ],
)
def test_the_longest_run_of_the_titles_words(title: str, response: str, share: float) -> None:
    assert title_copy(f"SUBREDDIT: r/x\n\nTITLE: {title}\n\nPOST: {response}", response) == share
    assert math.isnan(title_copy(f"POST: {title}", response))
