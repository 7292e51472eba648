"""Rows of an Arrow file, mapped into memory: nothing is read before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import pyarrow

Row = dict[str, Any]


class ArrowTable(Sequence[Row]):
    """Of a file in Arrow's streaming format, as `datasets` writes it; without importing that, which takes a second."""

    def __init__(self, path: Path) -> None:
        with pyarrow.ipc.open_stream(pyarrow.memory_map(str(path))) as stream:
            self._table = stream.read_all()

    def __len__(self) -> int:
        rows: int = self._table.num_rows
        return rows

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        row: Row = self._table.slice(places, 1).to_pylist()[0]
        return row
