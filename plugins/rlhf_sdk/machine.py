"""What a run needs of the machine: one line a second in `machine.jsonl`, from the shim."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from rlhf_sdk.machine_samples import MachineSample

_CGROUP_V2 = ("memory.current", "memory.max")
_CGROUP_V1 = ("memory.usage_in_bytes", "memory.limit_in_bytes")
_NO_LIMIT = 1 << 60


class Machine:
    """Samples the worker `pid`, with `ranks` all that it started, and what is around; `directory` tells which disk."""

    def __init__(self, directory: Path, pid: int, attempt: int, *, ranks: bool = False) -> None:
        self._directory, self._attempt = directory, attempt
        self._process, self._ranks = psutil.Process(pid), ranks
        self._family = {pid: self._process}
        self._cgroup = _cgroup_directory()
        # What only reads machine.jsonl needs no library of a GPU's driver.
        from rlhf_sdk.devices import open_devices, read_devices

        handles = open_devices()
        self._read_devices = partial(read_devices, handles)
        self._oom_kills_before = self._oom_kills()

    def sample(self) -> MachineSample:
        used, limit = self._cgroup_memory()
        self._meet_family()
        rss, cpu = self._worker()
        return MachineSample(
            time=time.time(),
            attempt=self._attempt,
            rss=rss,
            cpu_percent=cpu,
            memory_available=psutil.virtual_memory().available,
            cgroup_used=used,
            cgroup_limit=limit,
            disk_free=shutil.disk_usage(self._directory).free,
            devices=self._read_devices(set(self._family)),
        )

    def kernel_killed(self) -> bool:
        """Whether the kernel killed something in this cgroup for want of memory since the run began."""
        return self._oom_kills() > self._oom_kills_before

    def _meet_family(self) -> None:
        """Processes are kept, for each knows its own CPU time at the sample before."""
        with suppress(psutil.Error):
            found = self._process.children(recursive=True) if self._ranks else []
            self._family = {process.pid: self._family.get(process.pid, process) for process in (self._process, *found)}

    def _worker(self) -> tuple[int, float]:
        rss, cpu = 0, 0.0
        for process in self._family.values():
            with suppress(psutil.Error), process.oneshot():
                rss, cpu = rss + process.memory_info().rss, cpu + process.cpu_percent()
        return rss, cpu

    def _cgroup_memory(self) -> tuple[int | None, int | None]:
        for used, limit in (_CGROUP_V2, _CGROUP_V1):
            found = _read_number(self._cgroup / used), _read_number(self._cgroup / limit)
            if found[0] is not None:
                limited = found[1] is not None and found[1] < _NO_LIMIT
                return max(found[0] - self._reclaimable(), 0), found[1] if limited else None
        return None, None

    def _reclaimable(self) -> int:
        """Bytes of cached files, which the kernel drops before it kills."""
        counts = dict(line.split() for line in _read_lines(self._cgroup / "memory.stat"))
        return int(counts.get("total_inactive_file") or counts.get("inactive_file") or 0)

    def _oom_kills(self) -> int:
        for name in ("memory.events", "memory.oom_control"):
            for line in _read_lines(self._cgroup / name):
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0


def memory_limit() -> int:
    """Bytes that this process may have before the kernel ends it: its cgroup's limit, else the machine's memory."""
    directory, total = _cgroup_directory(), psutil.virtual_memory().total
    limits = [_read_number(directory / limit) for _, limit in (_CGROUP_V2, _CGROUP_V1)]
    return min([total, *(limit for limit in limits if limit is not None)])


def _cgroup_directory() -> Path:
    """This process's memory cgroup, version 2 or 1; within a container its root."""
    for base, prefix in (("/sys/fs/cgroup", "0::"), ("/sys/fs/cgroup/memory", "")):
        for line in _read_lines(Path("/proc/self/cgroup")):
            inside = Path(base) / line.rpartition(":")[2].lstrip("/")
            is_memory = line.startswith(prefix) if prefix else ":memory:" in line
            if is_memory and any((inside / name[0]).exists() for name in (_CGROUP_V2, _CGROUP_V1)):
                return inside
    memory = Path("/sys/fs/cgroup/memory")
    return memory if memory.exists() else Path("/sys/fs/cgroup")


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _read_number(path: Path) -> int | None:
    lines = _read_lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None
