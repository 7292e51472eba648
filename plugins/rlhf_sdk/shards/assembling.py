"""Whole files of pieces, byte by byte: without torch, a GPU, other processes, or memory for a whole tensor."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from rlhf_sdk.bounds import read_record
from rlhf_sdk.checkpoints import MANIFEST, checkpoint_step, clean_leftovers, damage, write_checkpoint
from rlhf_sdk.files import make_private_directory
from rlhf_sdk.shards.index import SHARDS, FileOfPieces, ShardIndex, read_index, write_index
from rlhf_sdk.shards.tensor_files import TensorFile, write_tensors
from rlhf_sdk.trainer import UserError

ASSEMBLED = "assembled"
"""In a run's directory: whole models of checkpoints that have them in pieces, for whoever asks for `run:ID@STEP`."""

SOURCE = "source.json"
_LOCK = ".lock"


class Source(msgspec.Struct, frozen=True):
    """Which checkpoint was assembled: SHA-256 (hex) of its manifest."""

    manifest: str


def assemble_file(checkpoint: Path, index: ShardIndex, path: str, target: Path) -> None:
    """Writes `path` of the checkpoint to `target`. Raises `UserError` where pieces are missing or aren't as told."""
    tensors = index.files[path]
    ranks = sorted({piece.rank for tensor in tensors.values() for piece in tensor.pieces})
    with ExitStack() as opened:
        files = {rank: _opened(FileOfPieces(path, rank).below(checkpoint), opened) for rank in ranks}
        for name, tensor in tensors.items():
            for piece in tensor.pieces:
                found = files[piece.rank].places.get(name)
                if found is None or (found.dtype, found.shape) != msgspec.structs.astuple(tensor.kind_of(piece)):
                    file = FileOfPieces(path, piece.rank).below(checkpoint)
                    raise UserError(f"{file} is damaged: {name!r} is not as the index says")

        def bytes_of(name: str) -> Iterator[bytes]:
            for piece in tensors[name].pieces:
                yield from files[piece.rank].bytes_of(name)

        target.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(target, {name: tensor.kind for name, tensor in tensors.items()}, bytes_of)


def _opened(file: Path, opened: ExitStack) -> TensorFile:
    try:
        found = TensorFile(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged: {error}") from error
    opened.callback(found.close)
    return found


def copy_model(checkpoint: Path, name: str, target: Path) -> None:
    """The folder `name` of a checkpoint, whole, as the new folder `target`. Raises `UserError`."""
    if (checkpoint / name).is_dir():
        shutil.copytree(checkpoint / name, target)
    index = read_index(checkpoint)
    for path in index.models:
        if path.startswith(f"{name}/"):
            assemble_file(checkpoint, index, path, target / path.removeprefix(f"{name}/"))


def make_models_whole(checkpoint: Path) -> list[str]:
    """Replaces the pieces of models, in a checkpoint that is being written, by whole files; what was removed."""
    index = read_index(checkpoint)
    removed = []
    for path in index.models:
        assemble_file(checkpoint, index, path, checkpoint / path)
        folder = checkpoint / SHARDS / path
        removed += [file.relative_to(checkpoint).as_posix() for file in sorted(folder.iterdir())]
        shutil.rmtree(folder)
    if removed:
        write_index(checkpoint, ShardIndex({path: index.files[path] for path in index.files if "/" not in path}))
        _remove_empty(checkpoint / SHARDS)
    return removed


def _remove_empty(folder: Path) -> None:
    for below in folder.iterdir():
        if below.is_dir():
            _remove_empty(below)
            if not any(below.iterdir()):
                below.rmdir()


def assembled(checkpoint: Path) -> Path:
    """A folder with the models of a good checkpoint as `save_pretrained` leaves them.

    That is the checkpoint itself, unless its models are in pieces: then `assembled/STEP` of its run, made once. Raises
    `UserError` where that can't be written.
    """
    index = read_index(checkpoint)
    if not index.models:
        return checkpoint
    place = checkpoint.parents[1] / ASSEMBLED
    try:
        with _alone(place):
            return _current(checkpoint, place) or _made(checkpoint, index, place)
    except OSError as error:
        raise UserError(
            f"{place} can't be written ({error.strerror}): `rlhf export RUN --to model` puts the model elsewhere"
        ) from error


def remove_assembled(checkpoint: Path) -> None:
    """What was assembled of a checkpoint that is removed."""
    shutil.rmtree(checkpoint.parents[1] / ASSEMBLED / checkpoint.name, ignore_errors=True)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One process at a time, also where several ranks ask for the same model at once."""
    make_private_directory(place)
    with (place / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _current(checkpoint: Path, place: Path) -> Path | None:
    found = place / checkpoint.name
    if not found.is_dir() or damage(found) is not None:
        return None
    source = msgspec.json.decode(read_record(found / SOURCE), type=Source)
    return found if source == _source_of(checkpoint) else None


def _source_of(checkpoint: Path) -> Source:
    return Source(hashlib.sha256(read_record(checkpoint / MANIFEST)).hexdigest())


def _made(checkpoint: Path, index: ShardIndex, place: Path) -> Path:
    def fill(folder: Path) -> None:
        there = {path.name for path in checkpoint.iterdir() if path.is_dir()} - {SHARDS}
        for name in there | {path.partition("/")[0] for path in index.models}:
            copy_model(checkpoint, name, folder / name)
        (folder / SOURCE).write_bytes(msgspec.json.encode(_source_of(checkpoint)))

    clean_leftovers(place)
    return write_checkpoint(place, checkpoint_step(checkpoint.name), fill)
