"""The lines of a log that grows, found by their places in the file, so that a large one costs little."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

from rlhf_sdk.bounds import open_plain

PIECE = 1 << 20
LONGEST_SHOWN = 4096


class LogFile:
    """`read` looks for new lines, a piece at a time; `line` fetches one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts = array("Q", [0])
        self._end = 0

    def __len__(self) -> int:
        """Whole lines found so far."""
        return len(self._starts) - 1

    def read(self) -> bool:
        """Takes in about a MiB of what is new; True if there may be more. Begins anew if the file has shrunk."""
        try:
            with os.fdopen(open_plain(self.path), "rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size < self._end:
                    self._starts, self._end = array("Q", [0]), 0
                data = os.pread(stream.fileno(), PIECE, self._end)
        except FileNotFoundError:
            return False
        place = data.find(b"\n")
        while place >= 0:
            self._starts.append(self._end + place + 1)
            place = data.find(b"\n", place + 1)
        self._end += len(data)
        return len(data) == PIECE

    def line(self, index: int) -> str:
        """Line `index`, cut where it is very long."""
        start, end = self._starts[index], self._starts[index + 1]
        with os.fdopen(open_plain(self.path), "rb") as stream:
            data = os.pread(stream.fileno(), min(end - start, LONGEST_SHOWN), start)
        return data.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2]
