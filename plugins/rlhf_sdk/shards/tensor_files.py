"""safetensors files without torch: headers, read with bounds, and files written a tensor at a time.

Eight bytes with the length of the header, the header (JSON: name to dtype, shape and place), the tensors' bytes; the
format is that of github.com/huggingface/safetensors.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from rlhf_sdk.bounds import Count, open_plain

ITEM_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
HEADER_BYTES = 100_000_000
"""safetensors reads no longer ones either."""

MOST_DIMENSIONS = 8
COPIED_BYTES = 16 << 20
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
Shape = Annotated[tuple[Count, ...], msgspec.Meta(max_length=MOST_DIMENSIONS)]
BytesOf = Callable[[str], Iterable[bytes | memoryview]]
"""A tensor's bytes by its name, some at a time."""


class TensorKind(msgspec.Struct, frozen=True):
    """dtype by safetensors' name, and shape."""

    dtype: str
    shape: Shape

    @property
    def nbytes(self) -> int:
        return ITEM_BYTES[self.dtype] * math.prod(self.shape)


class TensorPlace(TensorKind, frozen=True):
    """Where a tensor's bytes begin and end, counted from the end of the header."""

    data_offsets: tuple[Count, Count]


class TensorFile:
    """A safetensors file that may be anyone's.

    Raises OSError for what is no plain file, and ValueError where the header is not what its bytes bear out.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = open_plain(path)
        try:
            self.places, self._begin = self._read_header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    def _read_header(self) -> tuple[dict[str, TensorPlace], int]:
        size = os.fstat(self._descriptor).st_size
        length = int.from_bytes(os.pread(self._descriptor, _LENGTH_BYTES, 0), "little")
        begin = _LENGTH_BYTES + length
        if size < _LENGTH_BYTES or length > HEADER_BYTES or begin > size:
            raise ValueError("it is no safetensors file")
        raw = msgspec.json.decode(os.pread(self._descriptor, length, _LENGTH_BYTES), type=dict[str, msgspec.Raw])
        places = {
            name: msgspec.json.decode(place, type=TensorPlace) for name, place in raw.items() if name != _METADATA
        }
        _check_places(places, size - begin)
        return places, begin

    def bytes_of(self, name: str) -> Iterator[bytes]:
        """A tensor's bytes, some at a time. Raises ValueError where the file has become shorter."""
        place, end = (self._begin + offset for offset in self.places[name].data_offsets)
        while place < end:
            part = os.pread(self._descriptor, min(COPIED_BYTES, end - place), place)
            if not part:
                raise ValueError("it was cut short while it was read")
            place += len(part)
            yield part


def _check_places(places: Mapping[str, TensorPlace], data_bytes: int) -> None:
    """Each tensor as long as its shape says, one after the other, to the end of the file."""
    reached = 0
    for name, place in sorted(places.items(), key=lambda item: item[1].data_offsets):
        begin, end = place.data_offsets
        if place.dtype not in ITEM_BYTES:
            raise ValueError(f"{name!r} is of an unknown type {place.dtype!r}")
        if begin != reached or end - begin != place.nbytes:
            raise ValueError(f"{name!r} is not where its shape says")
        reached = end
    if reached != data_bytes:
        raise ValueError(f"it has {data_bytes} bytes of tensors instead of {reached}")


def write_tensors(path: Path, kinds: Mapping[str, TensorKind], bytes_of: BytesOf) -> None:
    """A new safetensors file; `bytes_of` is asked for each tensor when its turn comes.

    Raises FileExistsError where there is one, and ValueError where a tensor has another number of bytes.
    """
    order = sorted(kinds, key=lambda name: (-ITEM_BYTES[kinds[name].dtype], name))
    with path.open("xb") as stream:
        stream.write(_header(kinds, order))
        for name in order:
            written = sum(stream.write(part) for part in bytes_of(name))
            if written != kinds[name].nbytes:
                raise ValueError(f"{path}: {name!r} has {written} bytes instead of {kinds[name].nbytes}")


def _header(kinds: Mapping[str, TensorKind], order: Iterable[str]) -> bytes:
    """Padded, so that the tensors begin at a multiple of eight bytes."""
    header: dict[str, object] = {_METADATA: {"format": "pt"}}
    begin = 0
    for name in order:
        kind, end = kinds[name], begin + kinds[name].nbytes
        header[name] = TensorPlace(kind.dtype, kind.shape, (begin, end))
        begin = end
    encoded = msgspec.json.encode(header)
    encoded += b" " * (-len(encoded) % _LENGTH_BYTES)
    return len(encoded).to_bytes(_LENGTH_BYTES, "little") + encoded
