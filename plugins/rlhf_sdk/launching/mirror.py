"""A run on a machine that may vanish, copied to a folder that stays (a mounted bucket), and fetched from there.

Files are written whole: object stores can't append. Of a checkpoint the manifest comes last and goes first, so that a
copy that was cut off is none.
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rlhf_sdk.checkpoints import MANIFEST
from rlhf_sdk.run_dir import RunDir

EVERY_SECONDS = 30.0
LEFT_OUT = {"commands", "ranks", "job.json"}
"""Of use here alone."""


class Mirror:
    """While it is entered, what changes in `run` is in `folder` half a minute later, and all of it at the end."""

    def __init__(self, run: Path, folder: Path, every_seconds: float = EVERY_SECONDS) -> None:
        self._run, self._folder, self._every = run, folder, every_seconds
        self._copied: dict[Path, tuple[int, int]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> Mirror:
        """Fetches the run where it has come further than what this machine has."""
        if _attempt(self._folder) > _attempt(self._run):
            for path in _files(self._folder):
                _copy(path, self._run / path.relative_to(self._folder))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self.copy()

    def copy(self) -> None:
        """What has changed since the last time; what went away here goes away there. Raises `OSError`."""
        here = _files(self._run)
        wanted = {path.relative_to(self._run) for path in here}
        gone = [path for path in _files(self._folder) if path.relative_to(self._folder) not in wanted]
        for path in sorted(gone, key=lambda path: path.name != MANIFEST):
            path.unlink(missing_ok=True)
        for path in here:
            with suppress(FileNotFoundError):
                stamp = path.stat().st_size, path.stat().st_mtime_ns
                if self._copied.get(path) != stamp:
                    _copy(path, self._folder / path.relative_to(self._run))
                    self._copied[path] = stamp

    def _go_on(self) -> None:
        while not self._over.wait(self._every):
            try:
                self.copy()
            except OSError as error:
                print(f"the run was not copied to {self._folder}: {error}", file=sys.stderr)


def _attempt(run: Path) -> int:
    """The newest that it has had; 0 for none."""
    status = RunDir(run).status()
    return status.attempt if status else 0


def _files(folder: Path) -> list[Path]:
    """Manifests last; nothing that is still being written."""
    return sorted(_walk(folder), key=lambda path: (path.name == MANIFEST, path))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.startswith(".") or path.name in LEFT_OUT or path.is_symlink():
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file():
            yield path


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)
