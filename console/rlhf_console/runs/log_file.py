"""The lines of a log that grows, of whatever size: its end at once, the rest as it is counted."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections import OrderedDict
from pathlib import Path

from rlhf_sdk.bounds import open_plain

PIECE = 256 << 10
PIECES_AT_ONCE = 16
PIECES_KEPT = 8
LONGEST_SHOWN = 4096


class LogFile:
    """`read` counts new lines, a few MiB at a time; `line` fetches one.

    Until all that was there has been counted (`counted`), only the lines of the last piece are there. What is kept of
    a line is nothing, of a piece of the file how many lines end before it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self._before = array("Q")
        self._ended, self._end = 0, 0
        self._tail = array("Q", [0])
        self._ends: OrderedDict[int, array[int]] = OrderedDict()
        self.counted = False

    def __len__(self) -> int:
        """Whole lines found so far."""
        return self._ended if self.counted else max(len(self._tail) - 1, 0)

    def read(self) -> bool:
        """Takes in what is new; True if there may be more. Begins anew if the file has shrunk."""
        try:
            with os.fdopen(open_plain(self.path), "rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size < self._end:
                    self._forget()
                if self._end == 0 and size:
                    self._find_tail(stream.fileno(), size)
                for _ in range(PIECES_AT_ONCE):
                    if not self._count(stream.fileno()):
                        break
        except FileNotFoundError:
            return False
        self.counted = self.counted or self._end >= size
        return self._end < size

    def _find_tail(self, descriptor: int, size: int) -> None:
        start = max(size - PIECE, 0)
        ends = line_ends(os.pread(descriptor, PIECE, start))
        first = array("Q", [0]) if start == 0 else array("Q")
        self._tail = first + array("Q", (start + end for end in ends))

    def _count(self, descriptor: int) -> bool:
        """Counts the line ends up to the next limit of a piece; False at the end of the file."""
        piece, place = divmod(self._end, PIECE)
        if place == 0:
            del self._before[piece:]
            self._before.append(self._ended)
        data = os.pread(descriptor, PIECE - place, self._end)
        self._ended += data.count(b"\n")
        self._end += len(data)
        self._ends.pop(piece, None)
        return place + len(data) == PIECE

    def line(self, index: int) -> str:
        """Line `index`, cut where it is very long."""
        with os.fdopen(open_plain(self.path), "rb") as stream:
            start, end = (self._start(stream.fileno(), place) for place in (index, index + 1))
            data = os.pread(stream.fileno(), min(end - start, LONGEST_SHOWN), start)
        return shown_text(data)

    def _start(self, descriptor: int, index: int) -> int:
        """Where line `index` begins: behind the end of the one before."""
        if not self.counted:
            return self._tail[index]
        if index == 0:
            return 0
        piece = bisect_left(self._before, index) - 1
        return piece * PIECE + self._ends_of(descriptor, piece)[index - self._before[piece] - 1]

    def _ends_of(self, descriptor: int, piece: int) -> array[int]:
        if piece not in self._ends:
            self._ends[piece] = line_ends(os.pread(descriptor, PIECE, piece * PIECE))
            if len(self._ends) > PIECES_KEPT:
                self._ends.popitem(last=False)
        self._ends.move_to_end(piece)
        return self._ends[piece]


def line_ends(data: bytes) -> array[int]:
    """The places behind each line end."""
    ends, place = array("Q"), data.find(b"\n")
    while place >= 0:
        ends.append(place + 1)
        place = data.find(b"\n", place + 1)
    return ends


def shown_text(data: bytes) -> str:
    """What a terminal would be left with of one line: of a progress bar its last state."""
    return data.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2]
