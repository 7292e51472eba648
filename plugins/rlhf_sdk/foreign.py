"""Somebody else's run directory: what in it is no plain file or folder is refused, as it may lead anywhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from rlhf_sdk.trainer import UserError


def check_entries(folder: Path) -> None:
    """Raises `UserError` if `folder` is a link, or has an entry that is no plain file or folder."""
    _check_plain(folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
                _check_plain(Path(entry.path))


def check_tree(folder: Path) -> None:
    """Raises `UserError` if `folder` is a link, or holds a link that leads out of it, or what is no file or folder.

    For checkpoints, and before a run is started: what is written to a link lands where it leads.
    """
    _check_plain(folder)
    for path in _within(folder):
        if not (path.is_symlink() and _target(path).is_relative_to(_target(folder))):
            _check_plain(path)


def _target(path: Path) -> Path:
    """Where a path really leads; links in a circle lead to themselves."""
    return Path(os.path.realpath(path))


def _within(folder: Path) -> Iterator[Path]:
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
