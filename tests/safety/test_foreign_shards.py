"""A checkpoint in pieces that somebody else made, to do harm: refused with a reason, and nothing grows or leaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf_sdk.checkpoints import damage, write_checkpoint
from rlhf_sdk.shards.assembling import copy_model
from rlhf_sdk.shards.index import FileOfPieces, read_index
from rlhf_sdk.shards.tensor_files import TensorFile, TensorKind, write_tensors
from rlhf_sdk.trainer import UserError

PATH = "model/model.safetensors"
GOOD = {"dtype": "F32", "shape": [4, 2], "pieces": [[0, 0, 2], [1, 2, 2]]}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A good one, before its manifest is written: two ranks with two rows each."""
    for rank in (0, 1):
        file = FileOfPieces(PATH, rank).below(tmp_path / "aside")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(file, {"w": TensorKind("F32", (2, 2))}, lambda name: [bytes(16)])
    (tmp_path / "aside" / "model").mkdir()
    say(tmp_path / "aside", {PATH: {"w": GOOD}})
    return tmp_path / "aside"


def say(checkpoint: Path, files: Any) -> None:
    (checkpoint / "shards" / "index.json").write_text(json.dumps({"schema": 1, "files": files}))


def refusal(checkpoint: Path, out: Path) -> str:
    with pytest.raises(UserError) as refused:
        copy_model(checkpoint, "model", out)
    return str(refused.value)


def test_the_good_one_is_good(checkpoint: Path, tmp_path: Path) -> None:
    copy_model(checkpoint, "model", tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 32


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../../outside.safetensors", "lies elsewhere"),
        ("/tmp/outside.safetensors", "lies elsewhere"),
        ("model/../../x.safetensors", "lies elsewhere"),
        ("model/config.json", "lies elsewhere"),
    ],
)
def test_paths_stay_within_the_checkpoint(checkpoint: Path, tmp_path: Path, path: str, said: str) -> None:
    say(checkpoint, {path: {"w": GOOD}})
    assert said in refusal(checkpoint, tmp_path / "out")


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (GOOD | {"pieces": [[0, 0, 2], [0, 2, 2]]}, "two pieces of one rank"),
        (GOOD | {"pieces": [[0, 0, 2]]}, "are not its 4 rows"),
        (GOOD | {"pieces": [[0, 0, 2], [1, 1, 3]]}, "are not its 4 rows"),
        (GOOD | {"pieces": [[0, 0, 2**60], [1, 2, 2]]}, "damaged"),
        (GOOD | {"pieces": [[-1, 0, 2], [1, 2, 2]]}, "damaged"),
        (GOOD | {"shape": [4] * 40}, "damaged"),
        (GOOD | {"shape": [2**50, 2]}, "are not its"),
        (GOOD | {"shape": [2**50, 2], "pieces": [[0, 0, 2**50]]}, "not as the index says"),
        (GOOD | {"shape": [4, 2**40]}, "not as the index says"),
        (GOOD | {"dtype": "F64"}, "not as the index says"),
        (GOOD | {"dtype": "PICKLE"}, "unknown type"),
        (GOOD | {"pieces": [[7, 0, 4]]}, "rank-00007.safetensors is damaged"),
    ],
)
def test_what_the_index_says_must_be_borne_out_by_the_files(
    checkpoint: Path, tmp_path: Path, tensor: dict[str, Any], said: str
) -> None:
    say(checkpoint, {PATH: {"w": tensor}})
    assert said in refusal(checkpoint, tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.safetensors")) == 0


def header(text: bytes, data: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        (2**62).to_bytes(8, "little") + b"{}",
        header(b"\x80\x04\x95pickled"),
        header(b'{"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}'),
        header(b'{"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [-16, 0]}}', bytes(16)),
        header(b'{"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 8]}}', bytes(8)),
        header(b'{"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}', bytes(24)),
        header(b"[" * 100_000),
    ],
)
def test_a_file_whose_header_its_bytes_do_not_bear_out_is_refused(
    checkpoint: Path, tmp_path: Path, content: bytes
) -> None:
    FileOfPieces(PATH, 1).below(checkpoint).write_bytes(content)
    assert "rank-00001.safetensors is damaged" in refusal(checkpoint, tmp_path / "out")


@pytest.mark.parametrize("link", [lambda path: path.symlink_to("/etc/passwd"), lambda path: path.mkdir()])
def test_a_piece_that_is_no_plain_file_is_not_followed(
    checkpoint: Path, tmp_path: Path, link: Callable[[Path], None]
) -> None:
    file = FileOfPieces(PATH, 1).below(checkpoint)
    file.unlink()
    link(file)
    assert "is damaged" in refusal(checkpoint, tmp_path / "out")
    with pytest.raises(OSError, match=r"link|plain file"):
        TensorFile(file)


@pytest.mark.parametrize(
    "content",
    [b"\x80\x04\x95", b"[]", b'{"files": 3}', b"[" * 100_000, b"x" * (17 << 20)],
    ids=["pickle", "list", "number", "deep", "large"],
)
def test_an_index_that_is_none_is_refused(checkpoint: Path, content: bytes) -> None:
    (checkpoint / "shards" / "index.json").write_bytes(content)
    with pytest.raises(UserError, match=r"index\.json"):
        read_index(checkpoint)


def test_pieces_that_were_changed_make_a_damaged_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    sealed = write_checkpoint(tmp_path / "checkpoints", 1, lambda folder: checkpoint.rename(folder / "x"))
    file = FileOfPieces(PATH, 0).below(sealed / "x")
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert "has other contents than were written" in str(damage(sealed))
