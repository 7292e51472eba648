"""The shim's samples of the machine."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pynvml
import pytest

from rlhf_sdk.devices import read_devices
from rlhf_sdk.machine import Machine, memory_limit
from rlhf_sdk.machine_samples import DeviceSample


def test_a_sample_of_this_process(tmp_path: Path) -> None:
    machine = Machine(tmp_path, os.getpid(), attempt=2)
    sample = machine.sample()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert sample.attempt == 2 and sample.rss == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.05)
    space = os.statvfs(tmp_path)
    assert sample.disk_free == pytest.approx(space.f_bavail * space.f_frsize, rel=0.05)
    assert 0 < sample.memory_available < 1 << 50 and not machine.kernel_killed()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "4096"}, 4096),
        ({"memory.limit_in_bytes": "8192"}, 8192),
        ({"memory.max": "max"}, None),
        ({"memory.limit_in_bytes": str(1 << 63)}, None),
        ({}, None),
    ],
)
def test_a_process_may_have_what_its_group_may_or_else_the_machines_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr("rlhf_sdk.machine._cgroup_directory", lambda: tmp_path)
    assert memory_limit() == (expected or psutil.virtual_memory().total)


def test_a_process_that_is_gone_uses_nothing(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    machine = Machine(tmp_path, pid, attempt=1)
    os.waitpid(pid, 0)
    assert machine.sample().rss == 0


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three devices as the driver's library shows them: a whole one, a slice, and one that has been lost."""

    def memory(handle: str) -> Any:
        if handle == "lost":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return SimpleNamespace(used=30, total=80)

    def power(handle: str) -> int:
        if handle == "slice":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 312_500

    def utilization(handle: str) -> Any:
        if handle == "slice":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=97)

    running = [SimpleNamespace(pid=7, usedGpuMemory=20), SimpleNamespace(pid=8, usedGpuMemory=None)]
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", memory)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", utilization)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetPowerUsage", power)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lambda _handle: running)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: f"GPU {handle}")


@pytest.mark.usefixtures("nvml")
def test_devices_are_sampled_as_far_as_they_tell() -> None:
    shared = {"memory_used": 30, "memory_total": 80, "process": 20}
    whole = DeviceSample(index=0, name="GPU whole", utilization=97, power_watts=312.5, **shared)
    cut = DeviceSample(index=1, name="GPU slice", **shared)
    assert read_devices(["whole", "slice", "lost"], {7}) == [whole, cut]
    assert read_devices(["whole"], {8})[0].process == 0
