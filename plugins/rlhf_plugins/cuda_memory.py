"""One CUDA device's memory: the allocator's figures, what others use, and when to give cached memory back."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pynvml
import torch

from rlhf_engine.config import ReleaseCache

OTHERS_SECONDS = 1.0
NEARLY_FULL, IDLE_SHARE = 0.8, 0.1


class CudaMemory:
    """Figures in bytes. NVML is asked at most once a second; without it there are no `others`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        properties = torch.cuda.get_device_properties(device)
        self._total = properties.total_memory
        self._handle = _nvml_handle(str(properties.uuid))
        self._others, self._asked_at = 0, -OTHERS_SECONDS

    def read(self) -> dict[str, int]:
        """`allocated`, `reserved`, `peak` (allocated), `limit`, and `others`: used on the device, not by this process.

        Where NVML can't tell processes apart (in a container), this process's CUDA context counts as others'.
        """
        stats = torch.cuda.memory_stats(self._device)
        figures = {
            "allocated": stats["allocated_bytes.all.current"],
            "reserved": stats["reserved_bytes.all.current"],
            "peak": stats["allocated_bytes.all.peak"],
            "limit": round(torch.cuda.get_per_process_memory_fraction(self._device) * self._total),
        }
        if self._handle is None:
            return figures
        return figures | {"others": self._used_by_others(figures["reserved"])}

    def reset_peak(self) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)

    def snapshot(self) -> dict[str, Any]:
        """The allocator's segments and their blocks, as plain data."""
        segments = [
            {
                "bytes": segment["total_size"],
                "allocated": segment["allocated_size"],
                "kind": segment["segment_type"],
                "blocks": [[block["size"], block["state"]] for block in segment["blocks"]],
            }
            for segment in torch.cuda.memory_snapshot()
            if segment["device"] == (self._device.index or 0)
        ]
        return {"allocator": "cuda", "segments": segments}

    def _used_by_others(self, reserved: int) -> int:
        now = time.monotonic()
        if now - self._asked_at >= OTHERS_SECONDS:
            self._asked_at = now
            with suppress(pynvml.NVMLError):
                used = int(pynvml.nvmlDeviceGetMemoryInfo(self._handle).used)
                running = pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
                own = sum(process.usedGpuMemory or 0 for process in running if process.pid == os.getpid())
                self._others = max(used - max(own, reserved), 0)
        return self._others


def worth_releasing(memory: Mapping[str, int], policy: ReleaseCache) -> bool:
    """Whether to give back what the allocator keeps but nobody uses; `memory` as `CudaMemory.read` gives it.

    "auto": where the device is nearly full and a tenth of it lies idle, so that what comes next, in blocks of other
    sizes, might not find room. Giving back costs a little time, and taking anew costs more.
    """
    if policy != "auto":
        return policy == "between_phases"
    limit, reserved = memory["limit"], memory["reserved"]
    idle = reserved - memory["allocated"]
    return reserved + memory.get("others", 0) > NEARLY_FULL * limit and idle > IDLE_SHARE * limit


def _nvml_handle(uuid: str) -> Any:
    """By UUID: torch and NVML number devices differently. None without a driver, or for a slice of a device."""
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except pynvml.NVMLError:
        return None
