"""Bytes that are allocated on a CPU in each phase of an update, at its busiest moment, scratch of operations included.

torch's profiler reports every allocation and release; what lived before is counted from the tensors.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from rlhf_engine.hooks import NoHooks
from rlhf_engine.memory_budget import CPUBudget
from rlhf_engine.sharding.state import local

PREFIX, MEMORY = "phase: ", "[memory]"


class MarkedPhases(NoHooks):
    """Hooks that leave each phase's beginning and end in the profile."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        return record_function(PREFIX + name)


@torch.no_grad()
def live_bytes() -> int:
    """Bytes of every tensor that anything refers to, gradients included, each storage once; of shards this rank's."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]
    tensors += [tensor.grad for tensor in tensors if tensor.is_leaf and tensor.grad is not None]
    storages = [local(tensor).untyped_storage() for tensor in tensors if tensor.layout == torch.strided]
    real = [storage for storage in storages if storage.device.type != "meta"]
    return sum({storage.data_ptr(): storage.nbytes() for storage in real}.values())


def peaks_by_phase(work: Callable[[], object]) -> dict[str, int]:
    """Bytes at the busiest moment of each innermost phase of `work`."""
    before = live_bytes()
    with _profiled() as profiler:
        work()
    spans, changes = [], []
    for event in profiler.profiler.kineto_results.events():
        name = event.name()
        if name == MEMORY:
            changes.append((event.start_ns(), event.nbytes()))
        elif name.startswith(PREFIX):
            spans.append(_Span.of(event))
    peaks: dict[str, int] = {}
    total = before
    for time, change in sorted(changes):
        total += change
        around = [span for span in spans if span.start <= time <= span.end]
        if around:
            phase = max(around, key=lambda span: span.start).name
            peaks[phase] = max(peaks.get(phase, 0), total)
    return peaks


def counted_peak(work: Callable[[], object]) -> int:
    """Bytes of live tensors at the busiest moment of `work`, by the engine's own counter."""
    with CPUBudget(limit_bytes=1 << 60) as budget:
        work()
        return budget.peak


@dataclass(frozen=True)
class _Span:
    name: str
    start: int
    end: int

    @classmethod
    def of(cls, event: Any) -> _Span:
        return cls(event.name().removeprefix(PREFIX), event.start_ns(), event.start_ns() + event.duration_ns())


@contextmanager
def _profiled() -> Iterator[Any]:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        yield profiler
