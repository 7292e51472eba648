"""What it costs to write a checkpoint of a trained model, to check it, and to go on from it; in bytes and seconds."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.record import record
from benchmarks.speed.task import SHAPES, Shape
from benchmarks.tiny_models import CPU, tokenizer
from rlhf_engine.checkpoint import load_weights, save_weights
from rlhf_engine.config import ModelConfig, OptimizerConfig
from rlhf_engine.models import load_policy
from rlhf_engine.optim import ScheduledAdamW
from rlhf_sdk.checkpoints import damage, write_checkpoint

MEASURED = ("tiny", "70m")
TRIES = 3
POLICY, OPTIMIZER = "policy", "policy.optimizer.safetensors"
MIB = 1 << 20

Costs = dict[str, float]


def main() -> None:
    figures = {name: _of_shape(SHAPES[name]) for name in MEASURED}
    print(json.dumps(figures, indent=1))
    record("checkpointing", {"tries": TRIES, "best": figures})


def _of_shape(shape: Shape) -> Costs:
    words = tokenizer(shape.vocabulary)
    model = load_policy(ModelConfig(init=shape.init), words, CPU)
    optimizer = ScheduledAdamW(model.named_parameters(), OptimizerConfig(), total_steps=10)
    for parameter in optimizer.parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        tries = [_once(Path(folder), model, optimizer, words) for _ in range(TRIES)]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    best = {name: min(each[name] for each in tries) for name in tries[0]}
    return {"parameters": parameters, "needed_mib": 3 * 4 * parameters / MIB} | best


def _once(folder: Path, model: nn.Module, optimizer: ScheduledAdamW, words: Any) -> Costs:
    costs = Costs()

    def fill(aside: Path) -> None:
        with _timed(costs, "fill"):
            save_weights(model, words, aside / POLICY)
            save_file(optimizer.state_tensors(), aside / OPTIMIZER)

    with _timed(costs, "write"):
        written = write_checkpoint(folder, 1, fill)
    costs["written_mib"] = sum(path.stat().st_size for path in written.rglob("*") if path.is_file()) / MIB
    with _timed(costs, "check"):
        assert damage(written) is None
    with _timed(costs, "load"):
        load_weights(model, written / POLICY)
        optimizer.load_state_tensors(load_file(written / OPTIMIZER), 1)
    costs["same_bytes_written_and_synced_seconds"] = _seconds(lambda: _write(folder / "plain", costs["written_mib"]))
    return costs


@contextmanager
def _timed(costs: Costs, name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    costs[f"{name}_seconds"] = time.perf_counter() - wall
    costs[f"{name}_cpu_seconds"] = time.process_time() - cpu


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _write(file: Path, mib: float) -> None:
    """As many bytes as a disk is given at the least."""
    with file.open("wb") as stream:
        block = bytes(MIB)
        for _ in range(round(mib)):
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
    file.unlink()
