"""What this machine can do while the others take their turns: matrix products and reading from memory."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.speed.task import Task
from benchmarks.speed.turns import Turns

SIDE, SIDE_ON_GPU, ELEMENTS, SECONDS = 1024, 8192, 1 << 26, 0.15
GIGA = 1e9


def machine(task: Task, turns: Turns) -> None:
    """Billions of operations a second in fp32 and bf16 products, and gigabytes a second read, by CPU time.

    fp32 on a CPU is the faster one of the two libraries that torch has, MKL and oneDNN.
    """
    side = SIDE if task.device == "cpu" else SIDE_ON_GPU
    square = torch.randn(side, side, device=task.device)
    rough = square.to(torch.bfloat16)
    long = torch.ones(ELEMENTS, device=task.device)
    products = [lambda: square @ square, *_onednn_products(square)]
    turns.ready()
    while True:
        turns.begin()
        turns.end(
            gflops=2 * side**3 * max(_per_second(product, task) for product in products) / GIGA,
            gflops_bf16=2 * side**3 * _per_second(lambda: rough @ rough, task) / GIGA,
            gigabytes=long.nbytes * _per_second(long.sum, task) / GIGA,
        )


def _onednn_products(square: Tensor) -> list[Callable[[], object]]:
    if square.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return []
    packed = torch.ops.mkldnn._reorder_linear_weight(square, len(square))
    return [lambda: torch.ops.mkldnn._linear_pointwise(square, packed, None, "none", [], "")]


def _per_second(work: Callable[[], object], task: Task) -> float:
    """Neighbours on the same cores slow the wall clock down, and CPU time not."""
    on_cpu = task.device == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    wait = nothing if on_cpu else torch.cuda.synchronize
    work()
    wait()
    began, times = clock(), 0
    while clock() - began < SECONDS:
        work()
        wait()
        times += 1
    return times * task.threads / (clock() - began)


def nothing() -> None: ...
