"""Lines of a log that have some words in them, or tell of trouble, found a piece at a time."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from rlhf_console.runs.log_file import LONGEST_SHOWN, shown_text
from rlhf_sdk.bounds import open_plain

Level = Literal["all", "warning", "error"]
LEVELS: tuple[Level, ...] = ("all", "warning", "error")
PIECE = 1 << 20
MOST = 100_000

_TELLING: dict[Level, re.Pattern[str]] = {
    "error": re.compile(r"(?i:\b(?:error|exception|traceback|fatal|critical|panic)\b)|\b\w+(?:Error|Exception)\b"),
    "warning": re.compile(r"(?i:\b(?:warn|warning)\b)|\b\w+Warning\b"),
}
_ERRORS = (b"error", b"exception", b"traceback", b"fatal", b"critical", b"panic")
NEEDLES: dict[Level, tuple[bytes, ...]] = {"all": (), "warning": (b"warn", *_ERRORS), "error": _ERRORS}
"""One of them is in every line of a level, in small letters: found fast, and then looked at."""


def level_of(line: str) -> Level:
    """By its words: a log has no other levels. An error is a warning too."""
    return next((level for level, pattern in _TELLING.items() if pattern.search(line)), "all")


class LogMatches:
    """`read` looks through the next piece; the newest `MOST` lines that were found are kept.

    `words` are looked for as they are, capitals or not.
    """

    def __init__(self, path: Path, words: str, level: Level) -> None:
        self._path, self._end, self._passed = path, 0, 0
        self.caught_up = False
        self._needles = (words.encode().lower(),) if words else NEEDLES[level]
        self._levels = LEVELS[LEVELS.index(level) :]
        self._found = array("Q"), array("Q")

    def __len__(self) -> int:
        return len(self._found[1])

    def read(self) -> bool:
        """Looks through about a MiB, whole lines; True if there may be more."""
        try:
            with os.fdopen(open_plain(self._path), "rb") as stream:
                data = os.pread(stream.fileno(), PIECE, self._end)
        except FileNotFoundError:
            data = b""
        length = data.rfind(b"\n") + 1 or (len(data) if len(data) == PIECE else 0)
        self._look_through(data[:length])
        self._end += length
        self.caught_up = self.caught_up or not length
        return length > 0

    def _look_through(self, data: bytes) -> None:
        counted = 0
        for start, end in _lines_with(data, self._needles):
            self._passed += data.count(b"\n", counted, start)
            counted = start
            if level_of(data[start:end].decode(errors="replace")) in self._levels:
                starts, numbers = self._found
                starts.append(self._end + start)
                numbers.append(self._passed)
        self._passed += data.count(b"\n", counted)
        if len(self) > MOST:
            starts, numbers = self._found
            self._found = starts[-MOST:], numbers[-MOST:]

    def line(self, index: int) -> tuple[int, str]:
        """Found line `index`: which line of the log it is, from 0, and its text, cut where it is very long.

        Another thread may just have dropped the oldest, so a place behind the end is the newest.
        """
        starts, numbers = self._found
        index = min(index, len(numbers) - 1)
        with os.fdopen(open_plain(self._path), "rb") as stream:
            data = os.pread(stream.fileno(), LONGEST_SHOWN, starts[index])
        return numbers[index], shown_text(data.partition(b"\n")[0])


def _lines_with(data: bytes, needles: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Where the lines begin and end that have one of the needles in them, capitals or not."""
    small = data.lower()
    places = {needle: small.find(needle) for needle in needles}
    while any(place >= 0 for place in places.values()):
        found = min(place for place in places.values() if place >= 0)
        start, end = data.rfind(b"\n", 0, found) + 1, data.find(b"\n", found) + 1 or len(data)
        yield start, end
        places = {needle: small.find(needle, end) if 0 <= place < end else place for needle, place in places.items()}
