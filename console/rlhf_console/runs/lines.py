"""The lines of a file that grows, found by their places: the newest first, then back to the beginning."""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import Any

from rlhf_sdk.bounds import LINE_BYTES, open_plain
from rlhf_sdk.tail import end_of_lines

PIECE = 1 << 20


class TwoWay:
    """Numbers of rows: of row 0 and those that came later, and of -1 and those before, newest first."""

    def __init__(self, typecode: str) -> None:
        self.newer: array[Any] = array(typecode)
        self.older: array[Any] = array(typecode)

    def __getitem__(self, row: int) -> float:
        value: float = self.newer[row] if row >= 0 else self.older[-row - 1]
        return value


class Lines:
    """Row 0 is the first line that was completed after the file was opened, -1 the last one before it.

    A half-written last line counts as not yet written. Rows begin anew, with another `opened`, where the file has been
    replaced or has shrunk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened = 0
        self._inode = 0
        self._begin(0)

    def _begin(self, end: int) -> None:
        self._starts = TwoWay("Q")
        self._middle = self._bottom = self._top = self._scanned = end

    @property
    def first(self) -> int:
        """The oldest row found by now; with `end` the bounds of a range."""
        return -len(self._starts.older)

    @property
    def end(self) -> int:
        return len(self._starts.newer)

    @property
    def share(self) -> float:
        """How much of the file has been looked at, 0 to 1."""
        return (self._scanned - self._bottom) / max(self._scanned, 1)

    def read(self, *, older: bool) -> bool:
        """Looks for lines in a piece of what is new, else, with `older` or at first, of what stands before them.

        True if there may be more.
        """
        try:
            descriptor = open_plain(self.path)
        except FileNotFoundError:
            return False
        with os.fdopen(descriptor, "rb"):
            status = os.fstat(descriptor)
            if status.st_ino != self._inode or status.st_size < self._scanned:
                self._inode, self.opened = status.st_ino, self.opened + 1
                self._begin(end_of_lines(descriptor))
            more = self._read_newer(descriptor)
            if not more and (older or not self._starts.older):
                more = self._read_older(descriptor)
        return more

    def _read_newer(self, descriptor: int) -> bool:
        data = os.pread(descriptor, PIECE, self._scanned)
        place = data.find(b"\n")
        while place >= 0:
            self._starts.newer.append(self._top)
            self._top = self._scanned + place + 1
            place = data.find(b"\n", place + 1)
        self._scanned += len(data)
        return len(data) == PIECE

    def _read_older(self, descriptor: int) -> bool:
        if self._bottom == 0:
            return False
        begin = max(0, self._bottom - PIECE)
        data = os.pread(descriptor, self._bottom - begin, begin)
        place = data.rfind(b"\n")
        while place >= 0:
            if begin + place + 1 < self._middle:
                self._starts.older.append(begin + place + 1)
            place = data.rfind(b"\n", 0, place)
        self._bottom = begin
        if begin == 0:
            self._starts.older.append(0)
        return begin > 0

    def bounds(self, row: int) -> tuple[int, int]:
        """Where the row begins and ends in the file."""
        after = row + 1
        if after == 0:
            end = self._middle
        else:
            end = self._top if after == self.end else int(self._starts[after])
        return int(self._starts[row]), end

    def stretch(self, row: int, limit: int, size: int) -> range:
        """Rows from `row` on, up to `limit` (going up, or down where it is less), of about `size` bytes together."""
        step = 1 if limit >= row else -1
        place, left = row, size
        while place != limit and left > 0:
            start, end = self.bounds(place)
            left -= end - start
            place += step
        return range(row, place, step)

    def texts(self, rows: range) -> list[bytes]:
        """The lines of neighbouring rows, read at once; nothing of one that is too long."""
        if not rows:
            return []
        low, high = min(rows[0], rows[-1]), max(rows[0], rows[-1])
        start, end = self.bounds(low)[0], self.bounds(high)[1]
        if end - start > LINE_BYTES:
            return [b""] * len(rows)
        with os.fdopen(open_plain(self.path), "rb") as stream:
            lines = os.pread(stream.fileno(), end - start, start).split(b"\n")[:-1]
        lines += [b""] * (len(rows) - len(lines))
        return lines if rows.step > 0 else lines[::-1]
