"""Whole files of pieces, without torch's help: what assembling makes is what safetensors itself would have written."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlhf_sdk.checkpoints import damage, list_checkpoints, write_checkpoint
from rlhf_sdk.retention import Retention, prune
from rlhf_sdk.shards import assembling
from rlhf_sdk.shards.assembling import ASSEMBLED, assembled, copy_model, make_models_whole
from rlhf_sdk.shards.index import FileOfPieces, Piece, ShardIndex, StoredTensor, read_index, write_index
from rlhf_sdk.shards.tensor_files import TensorFile, TensorKind, write_tensors
from rlhf_sdk.trainer import UserError

PATH = "model/model.safetensors"
MOMENTS = "model.optimizer.safetensors"
NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64", torch.bool: "BOOL"}


def some_tensors(seed: int = 0) -> dict[str, Tensor]:
    """Uneven rows, fewer rows than ranks, no rows, no dimensions, several types."""
    torch.manual_seed(seed)
    return {
        "a.weight": torch.randn(7, 3),
        "b.bias": torch.randn(2),
        "none": torch.zeros(0, 4),
        "scalar": torch.tensor(3.5),
        "c": torch.randn(5, 2).to(torch.bfloat16),
        "count": torch.arange(6),
        "flags": torch.tensor([True, False, True]),
    }


def in_pieces(checkpoint: Path, path: str, tensors: dict[str, Tensor], ranks: int = 3) -> dict[str, StoredTensor]:
    """Writes what each rank has of the rows, by safetensors itself; what the index says of it."""
    stored, by_rank = {}, [dict[str, Tensor]() for _ in range(ranks)]
    for name, tensor in tensors.items():
        pieces, start = [], 0
        for rank, part in enumerate(tensor.tensor_split(ranks) if tensor.ndim else [tensor]):
            rows = len(part) if tensor.ndim else 1
            if rows:
                by_rank[rank][name] = part.contiguous()
                pieces.append(Piece(rank, start, rows))
            start += rows
        stored[name] = StoredTensor(NAMES[tensor.dtype], tuple(tensor.shape), tuple(pieces))
    for rank, parts in enumerate(by_rank):
        file = FileOfPieces(path, rank).below(checkpoint)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(parts, file)
    return stored


def sharded(checkpoint: Path, seed: int = 0) -> None:
    """A checkpoint's files: a model and moments in pieces."""
    files = {path: in_pieces(checkpoint, path, some_tensors(seed)) for path in (PATH, MOMENTS)}
    write_index(checkpoint, ShardIndex(files))
    (checkpoint / "model").mkdir()
    (checkpoint / "model" / "config.json").write_text("{}")
    (checkpoint / "trainer.json").write_text("{}")


def saved(run: Path, step: int = 4, seed: int = 0) -> Path:
    return write_checkpoint(run / "checkpoints", step, lambda folder: sharded(folder, seed))


def assert_equal(file: Path, expected: dict[str, Tensor]) -> None:
    found = load_file(file)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


def test_files_written_a_tensor_at_a_time_are_those_of_safetensors(tmp_path: Path) -> None:
    tensors = some_tensors()
    kinds = {name: TensorKind(NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}
    raw = {name: bytes(tensor.reshape(-1).view(torch.uint8).numpy()) for name, tensor in tensors.items()}
    write_tensors(tmp_path / "ours", kinds, lambda name: [raw[name][:1], raw[name][1:]])
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    assert_equal(tmp_path / "ours", tensors)
    assert (tmp_path / "ours").stat().st_size == (tmp_path / "theirs").stat().st_size
    read = TensorFile(tmp_path / "theirs")
    assert {name: b"".join(read.bytes_of(name)) for name in read.places} == raw
    read.close()


def test_a_tensor_of_other_length_than_its_shape_is_not_written_quietly(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'x' has 3 bytes instead of 8"):
        write_tensors(tmp_path / "file", {"x": TensorKind("F32", (2,))}, lambda name: [b"abc"])


def test_a_model_in_pieces_is_copied_whole(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path)
    copy_model(checkpoint, "model", tmp_path / "out")
    assert_equal(tmp_path / "out" / "model.safetensors", some_tensors())
    assert (tmp_path / "out" / "config.json").read_text() == "{}"


def test_no_more_than_a_few_megabytes_are_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlhf_sdk.shards.tensor_files.COPIED_BYTES", 16)
    checkpoint = saved(tmp_path)
    file = TensorFile(FileOfPieces(PATH, 0).below(checkpoint))
    assert max(len(part) for name in file.places for part in file.bytes_of(name)) == 16
    file.close()
    assembling.assemble_file(checkpoint, read_index(checkpoint), PATH, tmp_path / "whole")
    assert_equal(tmp_path / "whole", some_tensors())


def test_the_last_checkpoint_gets_whole_models_and_keeps_moments_in_pieces(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        sharded(folder)
        removed = make_models_whole(folder)
        assert removed == [f"shards/{PATH}/rank-{rank:05d}.safetensors" for rank in range(3)]

    checkpoint = write_checkpoint(tmp_path / "checkpoints", 9, fill)
    assert_equal(checkpoint / PATH, some_tensors())
    assert list(read_index(checkpoint).files) == [MOMENTS] and not (checkpoint / "shards" / "model").exists()
    assert assembled(checkpoint) == checkpoint and damage(checkpoint) is None


def test_what_a_reference_needs_is_assembled_once_and_again_when_the_checkpoint_is_another(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path)
    (tmp_path / ASSEMBLED / ".tmp-step-00000002").mkdir(parents=True)
    found = assembled(checkpoint)
    assert not list((tmp_path / ASSEMBLED).glob(".tmp-*"))
    assert found == tmp_path / ASSEMBLED / checkpoint.name and damage(checkpoint) is None
    assert_equal(found / PATH, some_tensors())
    made = (found / PATH).stat().st_ino
    assert assembled(checkpoint) == found and (found / PATH).stat().st_ino == made
    saved(tmp_path, seed=1)
    assert_equal(assembled(checkpoint) / PATH, some_tensors(1))
    (found / PATH).write_bytes(b"damaged")
    assert_equal(assembled(checkpoint) / PATH, some_tensors(1))


def test_several_processes_may_ask_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, made = saved(tmp_path), list[str]()
    once = assembling._made

    def counted(*arguments: object) -> Path:
        made.append("made")
        return once(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(assembling, "_made", counted)
    asking = [threading.Thread(target=assembled, args=(checkpoint,)) for _ in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert made == ["made"]
    assert_equal(tmp_path / ASSEMBLED / checkpoint.name / PATH, some_tensors())


def test_what_was_assembled_goes_with_its_checkpoint(tmp_path: Path) -> None:
    for step in (1, 2):
        assembled(saved(tmp_path, step))
    prune(list_checkpoints(tmp_path / "checkpoints")[-1], Retention(newest=1))
    assert [path.name for path in list_checkpoints(tmp_path / ASSEMBLED)] == ["step-00000002"]


def test_a_missing_piece_is_named(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path)
    FileOfPieces(PATH, 1).below(checkpoint).unlink()
    with pytest.raises(UserError, match=r"rank-00001.safetensors is damaged"):
        copy_model(checkpoint, "model", tmp_path / "out")


def test_an_index_of_a_newer_version_is_refused_with_its_number(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path)
    newer = msgspec.structs.replace(read_index(checkpoint), schema=2)
    write_index(checkpoint, newer)
    with pytest.raises(UserError, match="schema 2; this version reads up to 1"):
        read_index(checkpoint)
