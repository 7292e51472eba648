"""This process's resident memory, and the highest it was since a moment of one's choice."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from weakref import finalize

import psutil

PEAK_RESET = b"5"
"""What `clear_refs` takes to begin a new peak (Linux, proc_pid_clear_refs(5))."""


class ProcessMemory:
    """Reads `/proc/self`; elsewhere psutil, which knows no peak that can begin anew.

    Linux keeps one peak (VmHWM) a process. A container may refuse to let it begin anew: then there is none here either.
    """

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._process = psutil.Process()
        self._status, self._clear = _opened(proc / "status", os.O_RDONLY), _opened(proc / "clear_refs", os.O_WRONLY)
        for descriptor in (self._status, self._clear):
            if descriptor is not None:
                finalize(self, os.close, descriptor)

    def read(self) -> dict[str, int]:
        """Bytes now (`rss`), and the most since the last `reset_peak` (`rss_peak`) where the system tells."""
        if self._status is None:
            return {"rss": self._process.memory_info().rss}
        lines = os.pread(self._status, 8192, 0).splitlines()
        found = {line.split()[0]: int(line.split()[1]) << 10 for line in lines if line.startswith((b"VmRSS", b"VmHWM"))}
        peak = {"rss_peak": found[b"VmHWM:"]} if self._clear is not None else {}
        return {"rss": found[b"VmRSS:"], **peak}

    def reset_peak(self) -> None:
        if self._clear is not None:
            os.write(self._clear, PEAK_RESET)


def _opened(path: Path, flags: int) -> int | None:
    with suppress(OSError):
        return os.open(path, flags)
    return None
