"""torch.distributed.checkpoint's storage: safetensors files and a JSON index, nothing is pickled.

Its planners say which rank writes or reads which part of what; its own file formats have pickled metadata, or none.
Keys are those of `stored.key_of`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Size
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadPlan,
    LoadPlanner,
    SavePlan,
    SavePlanner,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from rlhf_plugins.sharded.stored import DTYPES, NAMES_OF_DTYPES, PlacedTensor, path_and_name
from rlhf_sdk.shards.index import FileOfPieces, Piece, ShardIndex, StoredTensor, write_index
from rlhf_sdk.shards.tensor_files import TensorKind, write_tensors


class ShardWriter(StorageWriter):
    """Each rank writes a file of pieces for each of `paths` of which it has some; rank 0 the index, at the end."""

    def __init__(self, checkpoint: Path, rank: int, paths: Sequence[str]) -> None:
        self._checkpoint, self._rank, self._paths = checkpoint, rank, paths

    def reset(self, checkpoint_id: Any = None) -> None: ...

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None: ...

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return False

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Raises OSError, TypeError for what is no tensor, and ValueError for one that is sharded within its rows."""
        results = []
        for path, items in _by_path(plan.items).items():
            file = FileOfPieces(path, self._rank).below(self._checkpoint)
            file.parent.mkdir(parents=True, exist_ok=True)
            kinds = {name: _kind_of(item) for name, item in items.items()}
            write_tensors(file, kinds, lambda name, items=items: [_bytes_of(planner.resolve_data(items[name]))])  # type: ignore[misc]
            results += [WriteResult(item.index, kinds[name].nbytes, self._rank) for name, item in items.items()]
        done: Future[list[WriteResult]] = Future()
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """What the ranks wrote, in the index."""
        writers = {result.index: result.storage_data for of_rank in results for result in of_rank}
        files: dict[str, dict[str, StoredTensor]] = {path: {} for path in self._paths}
        for key, stored in metadata.state_dict_metadata.items():
            assert isinstance(stored, TensorStorageMetadata), "checked when it was written"
            path, name = path_and_name(key)
            pieces = [
                Piece(writers[MetadataIndex(key, chunk.offsets)], *_rows(chunk))
                for chunk in stored.chunks
                if chunk.sizes.numel()
            ]
            kind = NAMES_OF_DTYPES[stored.properties.dtype], tuple(stored.size)
            files[path][name] = StoredTensor(*kind, tuple(sorted(pieces, key=lambda piece: piece.start)))
        write_index(self._checkpoint, ShardIndex(files))


def _by_path(items: Iterable[WriteItem]) -> dict[str, dict[str, WriteItem]]:
    """What has any elements, by path and name."""
    found: dict[str, dict[str, WriteItem]] = defaultdict(dict)
    for item in items:
        if item.type is WriteItemType.BYTE_IO or item.tensor_data is None:
            raise TypeError(f"{item.index.fqn} is no tensor")
        path, name = path_and_name(item.index.fqn)
        if item.tensor_data.chunk.sizes.numel():
            found[path][name] = item
    return found


def _kind_of(item: WriteItem) -> TensorKind:
    data = item.tensor_data
    assert data is not None, "checked by _by_path"
    if data.chunk.sizes[1:] != data.size[1:]:
        raise ValueError(f"{item.index.fqn} is sharded within its rows")
    return TensorKind(NAMES_OF_DTYPES[data.properties.dtype], tuple(data.chunk.sizes))


def _rows(chunk: ChunkStorageMetadata) -> tuple[int, int]:
    """First row and number of rows; a tensor without dimensions is one row."""
    return (chunk.offsets[0], chunk.sizes[0]) if chunk.sizes else (0, 1)


def _bytes_of(tensor: Any) -> memoryview:
    flat: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(flat)


class ShardReader(StorageReader):
    """Reads from pieces and from whole files alike; `stored` by key."""

    def __init__(self, stored: Mapping[str, PlacedTensor]) -> None:
        self._stored = stored

    def reset(self, checkpoint_id: Any = None) -> None: ...

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        return Metadata({key: _metadata_of(tensor) for key, tensor in self._stored.items()})

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None: ...

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return False

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        by_file = defaultdict(list)
        for item in plan.items:
            index = item.storage_index
            assert index.offset is not None, "of a tensor"
            by_file[self._stored[index.fqn].file_at(index.offset)].append(item)
        for file, items in by_file.items():
            with safe_open(file, framework="pt") as opened:
                for item in items:
                    part = opened.get_slice(self._stored[item.storage_index.fqn].name)
                    ranges = zip(item.storage_offsets, item.lengths, strict=True)
                    place = tuple(slice(offset, offset + length) for offset, length in ranges)
                    target = planner.resolve_tensor(item).detach()
                    target.copy_(part[place] if place else part[...])
                    planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done


def _metadata_of(tensor: PlacedTensor) -> TensorStorageMetadata:
    rest = tensor.shape[1:]
    chunks = [
        ChunkStorageMetadata(Size((start, *(0 for _ in rest))), Size((rows, *rest))) for start, rows in tensor.spans
    ]
    if not tensor.shape:
        chunks = [ChunkStorageMetadata(Size(()), Size(()))]
    return TensorStorageMetadata(TensorProperties(DTYPES[tensor.dtype]), Size(tensor.shape), chunks)
