"""Somebody else's run directory: what in it is no plain file or folder is refused, as it may lead anywhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from rlhf_sdk.trainer import UserError


def check_entries(folder: Path) -> None:
    """Raises `UserError` if `folder` is a link, or has an entry that is no plain file or folder."""
    for path in (folder, *folder.iterdir()):
        _check_plain(path)


def check_tree(folder: Path) -> None:
    """Raises `UserError` if anything within `folder` is no plain file or folder: before anything is written there."""
    for path in _walk(folder):
        _check_plain(path)


def _walk(folder: Path) -> Iterator[Path]:
    yield folder
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent) / name for name in (*folders, *files))


def _check_plain(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        what = "a link, which may lead anywhere" if stat.S_ISLNK(mode) else "not a plain file"
        raise UserError(f"{path} is {what}: not used")
