"""GPUs as their driver sees them, through NVML; none where there is no driver."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pynvml

from rlhf_sdk.machine_samples import DeviceSample


def open_devices() -> list[Any]:
    """NVML handles of every GPU; empty without a driver."""
    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []


def read_devices(handles: list[Any], pids: set[int]) -> list[DeviceSample]:
    """One sample of each GPU that answers; `pids` are the processes whose share is told apart."""
    found = []
    for index, handle in enumerate(handles):
        with suppress(pynvml.NVMLError):
            found.append(_device(index, handle, pids))
    return found


def _device(index: int, handle: Any, pids: set[int]) -> DeviceSample:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    return DeviceSample(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_used=int(memory.used),
        memory_total=int(memory.total),
        process=sum(process.usedGpuMemory or 0 for process in running if process.pid in pids),
        utilization=_utilization(handle),
        power_watts=_power(handle),
    )


def _utilization(handle: Any) -> int | None:
    """Percent; None where the device doesn't tell (a slice of one, say)."""
    try:
        return int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except pynvml.NVMLError:
        return None


def _power(handle: Any) -> float | None:
    """Watts of the whole device; None where it doesn't tell."""
    try:
        return float(pynvml.nvmlDeviceGetPowerUsage(handle)) / 1000
    except pynvml.NVMLError:
        return None
