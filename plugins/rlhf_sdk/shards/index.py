"""`shards/index.json`: which tensors of a checkpoint lie in pieces, and which rank wrote which rows of each.

`shards/` mirrors the checkpoint: the pieces of `model/model.safetensors`, which isn't there, are
`shards/model/model.safetensors/rank-00000.safetensors` and its like. A piece has the tensor's own name, and some of its
rows (all, where every rank has the same tensor).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

from rlhf_sdk.bounds import Count, is_within, read_record
from rlhf_sdk.shards.tensor_files import ITEM_BYTES, Shape, TensorKind
from rlhf_sdk.trainer import UserError

SCHEMA = 1
SHARDS = "shards"
INDEX = "index.json"
SUFFIX = ".safetensors"


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """`rows` rows from row `start` on, in the file of `rank`."""

    rank: Count
    start: Count
    rows: Count


class StoredTensor(msgspec.Struct, frozen=True):
    """A whole tensor's type and shape; its pieces by their first row. One without dimensions is one row."""

    dtype: str
    shape: Shape
    pieces: tuple[Piece, ...]

    @property
    def kind(self) -> TensorKind:
        return TensorKind(self.dtype, self.shape)

    def kind_of(self, piece: Piece) -> TensorKind:
        """Type and shape of one piece."""
        return TensorKind(self.dtype, (piece.rows, *self.shape[1:]) if self.shape else ())


class ShardIndex(msgspec.Struct, frozen=True):
    """`files`: path within the checkpoint of a file that isn't there -> its tensors by name."""

    files: dict[str, dict[str, StoredTensor]]
    schema: int = SCHEMA

    @property
    def models(self) -> list[str]:
        """Files of models, which lie in folders; beside those are the trainer's own."""
        return [path for path in self.files if "/" in path]


class _Versioned(msgspec.Struct):
    schema: int = SCHEMA


class FileOfPieces(NamedTuple):
    """`path` within the checkpoint, and the rank whose pieces of it these are."""

    path: str
    rank: int

    def below(self, checkpoint: Path) -> Path:
        return checkpoint / SHARDS / self.path / f"{rank_name(self.rank)}{SUFFIX}"


def rank_name(rank: int) -> str:
    """What bears this name in a checkpoint was written by that rank."""
    return f"rank-{rank:05d}"


def write_index(checkpoint: Path, index: ShardIndex) -> None:
    """Replaces what is there."""
    (checkpoint / SHARDS).mkdir(exist_ok=True)
    (checkpoint / SHARDS / INDEX).write_bytes(msgspec.json.encode(index))


def read_index(checkpoint: Path) -> ShardIndex:
    """Without files where a checkpoint has no shards. Raises `UserError` for one that is damaged, leads elsewhere, or
    was written by a newer version.
    """
    file = checkpoint / SHARDS / INDEX
    try:
        data = read_record(file)
        schema = msgspec.json.decode(data, type=_Versioned).schema
        if schema > SCHEMA:
            raise UserError(f"{file} has schema {schema}; this version reads up to {SCHEMA}: upgrade rlhf-console")
        index = msgspec.json.decode(data, type=ShardIndex)
        _check(index)
    except FileNotFoundError:
        return ShardIndex({})
    except OSError as error:
        raise UserError(f"{file} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged: {error}") from error
    return index


def _check(index: ShardIndex) -> None:
    for path, tensors in index.files.items():
        if not is_within(path) or not path.endswith(SUFFIX) or "\0" in path:
            raise ValueError(f"{path!r} lies elsewhere")
        for name, tensor in tensors.items():
            if tensor.dtype not in ITEM_BYTES:
                raise ValueError(f"{name!r} is of an unknown type {tensor.dtype!r}")
            _check_pieces(name, tensor)


def _check_pieces(name: str, tensor: StoredTensor) -> None:
    """Row after row, none twice, and each rank's file once: so nothing grows larger than its files."""
    ends = [(piece.start, piece.start + piece.rows) for piece in tensor.pieces]
    rows = tensor.shape[0] if tensor.shape else 1
    whole = [(0, 0), *ends, (rows, rows)]
    if any(left[1] != right[0] for left, right in pairwise(whole)):
        raise ValueError(f"the pieces of {name!r} are not its {rows} rows")
    if len({piece.rank for piece in tensor.pieces}) < len(tensor.pieces):
        raise ValueError(f"{name!r} has two pieces of one rank")
