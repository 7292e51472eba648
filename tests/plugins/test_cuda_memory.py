"""A GPU's memory by a fake torch and a fake NVML: what is read, and when cached memory is given back."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from rlhf_engine.config import ReleaseCache
from rlhf_engine.memory_budget import CPUBudget
from rlhf_plugins.cuda_memory import CudaMemory, worth_releasing
from rlhf_plugins.torch_runtime import TorchRuntime
from rlhf_sdk.phases import Phases

GIB = 1 << 30
DEVICE = torch.device("cuda", 0)


class FakeGPU:
    """80 GiB, of which torch has reserved 60 and allocated 40, and NVML sees 70 in use."""

    def __init__(self) -> None:
        self.allocated, self.reserved, self.peak, self.used = 40 * GIB, 60 * GIB, 50 * GIB, 70 * GIB
        self.processes: list[Any] = []
        self.asked = self.emptied = 0

    def stats(self, device: torch.device) -> dict[str, int]:
        return {
            "allocated_bytes.all.current": self.allocated,
            "reserved_bytes.all.current": self.reserved,
            "allocated_bytes.all.peak": self.peak,
        }

    def nvml_memory(self, handle: str) -> Any:
        assert handle == "GPU-4711"
        self.asked += 1
        return SimpleNamespace(used=self.used)

    def reset(self, device: torch.device) -> None:
        self.peak = self.allocated

    def empty(self) -> None:
        self.emptied += 1
        self.reserved = self.allocated

    def snapshot(self) -> list[dict[str, Any]]:
        block = {"size": GIB, "state": "active_allocated", "address": 4096, "frames": []}
        segment = {"total_size": 2 * GIB, "allocated_size": GIB, "segment_type": "large", "blocks": [block]}
        return [segment | {"device": 0}, segment | {"device": 1}]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGPU:
    fake = FakeGPU()
    replaced = {
        "get_device_properties": lambda device: SimpleNamespace(total_memory=80 * GIB, uuid="4711"),
        "get_per_process_memory_fraction": lambda device: 1.0,
        "memory_stats": fake.stats,
        "reset_peak_memory_stats": fake.reset,
        "empty_cache": fake.empty,
        "memory_snapshot": fake.snapshot,
    }
    for name, function in replaced.items():
        monkeypatch.setattr(f"torch.cuda.{name}", function)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", fake.nvml_memory)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lambda handle: fake.processes)
    return fake


def test_figures_come_from_the_allocator_and_others_from_nvml(gpu: FakeGPU) -> None:
    gpu.processes = [SimpleNamespace(pid=os.getpid(), usedGpuMemory=62 * GIB), SimpleNamespace(pid=1, usedGpuMemory=8)]
    assert CudaMemory(DEVICE).read() == {
        "allocated": 40 * GIB,
        "reserved": 60 * GIB,
        "peak": 50 * GIB,
        "limit": 80 * GIB,
        "others": 8 * GIB,
    }


def test_where_nvml_does_not_know_this_process_its_reserved_memory_is_its_own(gpu: FakeGPU) -> None:
    assert CudaMemory(DEVICE).read()["others"] == 10 * GIB


def test_nvml_is_asked_once_a_second(gpu: FakeGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.0, 100.4, 101.1])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    memory = CudaMemory(DEVICE)
    assert [memory.read()["others"] for _ in range(3)] == [10 * GIB] * 3
    assert gpu.asked == 2


def test_without_nvml_nothing_is_said_of_others(gpu: FakeGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert "others" not in CudaMemory(DEVICE).read()


def test_the_snapshot_has_the_devices_own_segments_without_addresses(gpu: FakeGPU) -> None:
    segment = {"bytes": 2 * GIB, "allocated": GIB, "kind": "large", "blocks": [[GIB, "active_allocated"]]}
    assert CudaMemory(DEVICE).snapshot() == {"allocator": "cuda", "segments": [segment]}


@pytest.mark.parametrize(
    ("policy", "reserved", "others", "expected"),
    [
        ("auto", 60, 0, False),  # 20 of 80 GiB are free
        ("auto", 70, 0, True),
        ("auto", 60, 10, True),  # as full, by others
        ("auto", 44, 36, False),  # full, but only 4 GiB lie idle
        ("never", 80, 0, False),
        ("between_phases", 40, 0, True),
    ],
)
def test_cached_memory_is_given_back_where_it_pays(
    policy: ReleaseCache, reserved: int, others: int, expected: bool
) -> None:
    memory = {"limit": 80 * GIB, "allocated": 40 * GIB, "reserved": reserved * GIB, "others": others * GIB}
    assert worth_releasing(memory, policy) is expected


@pytest.mark.parametrize(("policy", "releases"), [("never", 0), ("between_phases", 2)])
def test_only_outermost_phases_give_memory_back(gpu: FakeGPU, policy: ReleaseCache, releases: int) -> None:
    runtime = TorchRuntime()
    runtime.use(DEVICE, policy)
    phases = Phases(runtime, lambda: 0.0, lambda event: None)
    with phases.phase("update"):
        for name in ("forward", "backward"):
            with phases.phase(name):
                pass
        assert gpu.emptied == 0
    with phases.phase("rollout"):
        pass
    assert gpu.emptied == releases


def test_a_run_on_the_cpu_asks_nothing_of_a_gpu_that_is_there(gpu: FakeGPU) -> None:
    runtime = TorchRuntime()
    runtime.use(torch.device("cpu"), "auto")
    assert runtime.memory().keys() <= {"rss", "rss_peak"}
    assert runtime.memory_snapshot() == {}


def test_on_a_cpu_a_budget_is_the_device() -> None:
    runtime = TorchRuntime()
    with CPUBudget(GIB) as budget:
        runtime.reset_peak()
        before = runtime.memory()["allocated"]
        block = [torch.zeros(1 << 20)]
        block.clear()
        memory = runtime.memory()
        assert memory["limit"] == GIB
        assert memory["allocated"] == before
        assert memory["peak"] == before + (4 << 20)
        sizes = runtime.memory_snapshot()["storages"]
        assert sum(sizes) == budget.in_use and sizes == sorted(sizes, reverse=True)
    assert "allocated" not in runtime.memory()


def test_random_states_come_back(tmp_path: Path) -> None:
    runtime = TorchRuntime()
    runtime.start(3)
    runtime.remember_rng()
    expected = torch.rand(3)
    runtime.save_rng(tmp_path)
    runtime.load_rng(tmp_path)
    assert torch.equal(torch.rand(3), expected)
