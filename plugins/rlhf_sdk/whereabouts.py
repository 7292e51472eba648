"""Which directory a run really is, and where it went if somebody moves it while it lives."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from weakref import finalize


def directory_identity(run: Path) -> str:
    """The same after a move, another for every copy; empty if there is no run."""
    try:
        return f"{run.stat().st_ino}-{(run / 'run.json').stat().st_ino}"
    except (FileNotFoundError, NotADirectoryError):
        return ""


class Whereabouts:
    """Keeps hold of a run's directory, so that it can be told when it is no longer where it was."""

    def __init__(self, run: Path) -> None:
        self.path = run
        self._identity = directory_identity(run)
        self._descriptor = os.open(run, os.O_RDONLY | os.O_DIRECTORY)
        self.close = finalize(self, os.close, self._descriptor)

    def moved(self) -> bool:
        return directory_identity(self.path) != self._identity

    def find(self) -> Path | None:
        """Where the directory is now, if it was moved within its file system; None if it is gone."""
        with suppress(OSError):
            found = Path(f"/proc/self/fd/{self._descriptor}").readlink()
            if directory_identity(found) == self._identity:
                return found
        return None
