"""Readers of append-only JSON lines: a half-written last line counts as not yet written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from rlhf_sdk.bounds import LINE_BYTES, open_plain

CHUNK = 4 << 20
BLOCK = 64 << 10

Item = TypeVar("Item")


class Tail(Generic[Item]):
    """Follows one file; each `read` returns what was completed since the last.

    `damaged` counts complete lines that `decode` refused; they are skipped, and so is a line that is too long.
    `decode_all` does the same for many lines at once, faster; where it raises `ValueError`, each is decoded by itself.
    """

    def __init__(
        self,
        path: Path,
        decode: Callable[[bytes], Item],
        decode_all: Callable[[bytes], list[Item]] | None = None,
    ) -> None:
        self.path = path
        self.damaged = 0
        self._decode, self._decode_all = decode, decode_all
        self._offset = 0
        self._inode = 0

    def read(self, limit: int = CHUNK) -> list[Item]:
        """New items, at most about `limit` bytes of them at a time; empty when there is nothing new, or no file yet."""
        try:
            with os.fdopen(open_plain(self.path), "rb") as stream:
                data = self._new_lines(stream.fileno(), limit)
        except FileNotFoundError:
            return []
        return self._decoded(data) if data else []

    def _decoded(self, data: bytes) -> list[Item]:
        count = data.count(b"\n")
        if self._decode_all is not None:
            with suppress(ValueError, RecursionError):
                items = self._decode_all(data)
                if len(items) == count:
                    return items
        items = list(decoded(data.split(b"\n")[:-1], self._decode))
        self.damaged += count - len(items)
        return items

    @property
    def unread_bytes(self) -> int:
        """What the file has beyond what was read; 0 where there is no file."""
        try:
            return max(self.path.stat().st_size - self._offset, 0)
        except FileNotFoundError:
            return 0

    def skip_to_end(self) -> None:
        """What is there already is passed over; a line that is half-written now counts as damaged."""
        with suppress(FileNotFoundError):
            status = self.path.stat()
            self._offset, self._inode = status.st_size, status.st_ino

    def __iter__(self) -> Iterator[Item]:
        """All items up to the end of the file as it is now."""
        before = -1
        while before != self._offset:
            before = self._offset
            yield from self.read()

    def skip(self) -> None:
        """Leaves out all that is complete by now."""
        try:
            with os.fdopen(open_plain(self.path), "rb") as stream:
                self._offset, self._inode = end_of_lines(stream.fileno()), os.fstat(stream.fileno()).st_ino
        except FileNotFoundError:
            return

    def _new_lines(self, descriptor: int, limit: int) -> bytes:
        status = os.fstat(descriptor)
        if status.st_ino != self._inode or status.st_size < self._offset:
            self._offset, self._inode = 0, status.st_ino
        data, size = b"", limit
        while b"\n" not in data and len(data) < status.st_size - self._offset:
            if size > LINE_BYTES:
                self._offset += len(data)
                size = CHUNK
            data = os.pread(descriptor, size, self._offset)
            size *= 2
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        return complete


def decoded(lines: Iterable[bytes], decode: Callable[[bytes], Item]) -> Iterator[Item]:
    """What `decode` makes of each line, without those that it refuses with a `ValueError` (damaged ones)."""
    for line in lines:
        try:
            item = decode(line)
        except (ValueError, RecursionError):
            continue
        yield item


def end_of_lines(descriptor: int) -> int:
    """Where the last complete line of a file ends."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - BLOCK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def newest_first(path: Path) -> Iterator[bytes]:
    """Complete lines from the last to the first, read from the end in blocks; lines that are too long are left out."""
    try:
        descriptor = open_plain(path)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "rb"):
        end, unfinished, too_long = end_of_lines(descriptor) - 1, b"", False
        while end > 0:
            start = max(0, end - max(BLOCK, len(unfinished)))
            first, *lines = (os.pread(descriptor, end - start, start) + unfinished).split(b"\n")
            yield from reversed(lines[:-1] if too_long else lines)
            too_long = len(first) > LINE_BYTES or (too_long and not lines)
            unfinished, end = b"" if too_long else first, start
        if unfinished:
            yield unfinished


def last_lines(path: Path, count: int) -> list[bytes]:
    """The last `count` complete lines, oldest first, read from the end of the file; empty if there is no file."""
    try:
        with os.fdopen(open_plain(path), "rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            size = BLOCK
            data = os.pread(stream.fileno(), size, max(0, end - size))
            while size < min(end, LINE_BYTES) and data.count(b"\n") <= count:
                size *= 2
                data = os.pread(stream.fileno(), size, max(0, end - size))
    except FileNotFoundError:
        return []
    lines = data.split(b"\n")[:-1]
    return lines[-count:]
