"""Where a checkpoint's tensors lie, in whole files or in pieces, whatever number of processes wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import torch

from rlhf_sdk.shards.index import FileOfPieces, ShardIndex, read_index
from rlhf_sdk.shards.tensor_files import TensorFile
from rlhf_sdk.trainer import UserError

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
NAMES_OF_DTYPES = {dtype: name for name, dtype in DTYPES.items()}


def key_of(path: str, name: str) -> str:
    """ "PATH:NAME": the tensor NAME of the file that is called PATH in a checkpoint of one process."""
    return f"{path}:{name}"


def path_and_name(key: str) -> tuple[str, str]:
    """The inverse of `key_of`."""
    path, _, name = key.partition(":")
    return path, name


class PlacedTensor(NamedTuple):
    """A tensor called `name` in each of `files`, which have `spans` of its rows: first row and number."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    files: tuple[Path, ...]

    def file_at(self, offset: Sequence[int]) -> Path:
        """The one whose part begins at `offset`."""
        return self.files[[start for start, _ in self.spans].index(offset[0]) if offset else 0]


def stored_tensors(checkpoint: Path, path: str) -> dict[str, PlacedTensor]:
    """What the file `path` of a checkpoint has, by name; of a folder's model all safetensors files beside it.

    Raises `UserError` for a file that isn't what it should be.
    """
    index = read_index(checkpoint)
    return _in_pieces(checkpoint, index, path) if path in index.files else _in_files(checkpoint, path)


def _in_pieces(checkpoint: Path, index: ShardIndex, path: str) -> dict[str, PlacedTensor]:
    return {
        name: PlacedTensor(
            name,
            tensor.dtype,
            tensor.shape,
            tuple((piece.start, piece.rows) for piece in tensor.pieces),
            tuple(FileOfPieces(path, piece.rank).below(checkpoint) for piece in tensor.pieces),
        )
        for name, tensor in index.files[path].items()
    }


def _in_files(checkpoint: Path, path: str) -> dict[str, PlacedTensor]:
    whole = checkpoint / path
    files = sorted(whole.parent.glob("*.safetensors")) if "/" in path else [whole]
    found = {}
    for file in files:
        try:
            with closing(TensorFile(file)) as opened:
                for name, place in opened.places.items():
                    rows = place.shape[0] if place.shape else 1
                    found[name] = PlacedTensor(name, place.dtype, place.shape, ((0, rows),), (file,))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} is damaged: {error}") from error
    return found
