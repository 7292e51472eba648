"""Bounds on what is read from a run directory, which may be somebody else's, and made to do harm.

Plain files alone, records and lines of bounded size, JSON of bounded depth, figures that can be reckoned with.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec

RECORD_BYTES = 16 << 20
LINE_BYTES = 64 << 20
DEEPEST = 64
EXACT = 2**53
"""Whole numbers up to here are told apart as floats too."""

LATEST = 1e11
"""In Unix seconds: the year 5138."""

Count = Annotated[int, msgspec.Meta(ge=0, le=EXACT)]
Difference = Annotated[int, msgspec.Meta(ge=-EXACT, le=EXACT)]
Seconds = Annotated[float, msgspec.Meta(ge=-LATEST, le=LATEST)]
"""Unix time, or how long something took."""


def open_plain(path: Path) -> int:
    """A descriptor to read a plain file. Raises `OSError` for a link, and for a pipe or device, which may never end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link, which is not followed", str(path)) from None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not a plain file", str(path))


def read_record(path: Path) -> bytes:
    """A small file, whole. Raises `OSError` for what is no plain file, or larger than `RECORD_BYTES`."""
    with os.fdopen(open_plain(path), "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(min(size, RECORD_BYTES) + 1)
    if len(data) > RECORD_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {RECORD_BYTES >> 20} MiB", str(path))
    return data


def check_depth(value: Any, left: int = DEEPEST) -> None:
    """Raises `ValueError` if plain data is nested more than `DEEPEST` deep."""
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise ValueError(f"nested more than {DEEPEST} deep")
    for item in value.values() if isinstance(value, dict) else value:
        check_depth(item, left - 1)


def is_within(name: str) -> bool:
    """Whether a relative path stays below the folder that it is meant from."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
