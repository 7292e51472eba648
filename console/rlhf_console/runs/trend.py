"""How a metric went over a run, from a few places of its events: a gigabyte costs what a megabyte does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from rlhf_sdk.bounds import open_plain
from rlhf_sdk.events import MetricsLogged, decode_event

PLACES = 16
PIECE = 16 << 10
GROWN = 1.05
"""A file that has grown by less than this factor looks the same in so few columns."""
_METRICS = b'"kind":"metrics"'


class Trend:
    """`points` are steps with their metrics, in the order of the file."""

    def __init__(self, path: Path) -> None:
        self.points: list[MetricsLogged] = []
        self._path, self._size = path, 0

    def refresh(self) -> None:
        """Looks again where the file has grown enough to look different, or was replaced."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        if not self._size <= size <= self._size * GROWN:
            self._size = size
            self.points = list(_points(self._path, size))

    def values(self, name: str) -> list[float]:
        """One metric's values, oldest first."""
        return [point.values[name] for point in self.points if name in point.values]


def _points(path: Path, size: int) -> Iterator[MetricsLogged]:
    newest = -1
    with os.fdopen(open_plain(path), "rb") as stream:
        for start in _starts(size):
            for line in _metrics_lines(os.pread(stream.fileno(), PIECE, start), whole=start == 0):
                try:
                    event = decode_event(line)
                except (ValueError, RecursionError, msgspec.MsgspecError):
                    continue
                if isinstance(event, MetricsLogged) and event.seq > newest:
                    newest = event.seq
                    yield event


def _starts(size: int) -> list[int]:
    """Where pieces begin: all of a small file, else as many places as a trend has columns."""
    if size <= PLACES * PIECE:
        return list(range(0, size, PIECE // 2))
    return [round(place * (size - PIECE) / (PLACES - 1)) for place in range(PLACES)]


def _metrics_lines(data: bytes, *, whole: bool) -> list[bytes]:
    """Complete lines with metrics; what stands before the first line end is one only at the start of the file."""
    lines = data.split(b"\n")[:-1]
    return [line for line in (lines if whole else lines[1:]) if _METRICS in line]
