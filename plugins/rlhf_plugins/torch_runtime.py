"""`Runtime` for every trainer that uses torch: seeds, random states, memory."""

from __future__ import annotations

import json
import os
import platform
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from rlhf_engine.config import ReleaseCache
from rlhf_engine.memory_budget import budget_in_force
from rlhf_engine.out_of_memory import is_out_of_memory
from rlhf_engine.ranks import ALONE, Ranks, join_ranks, lost_others
from rlhf_plugins.cuda_memory import CudaMemory, worth_releasing
from rlhf_sdk.process_memory import ProcessMemory
from rlhf_sdk.ranked.link import RankLink


class TorchRuntime:
    """Built before the worker's `Trainer.setup`; the device is known once the config is."""

    def __init__(self) -> None:
        self._process = ProcessMemory()
        self._device = torch.device("cpu")
        self._cuda: CudaMemory | None = None
        self._release_cache: ReleaseCache = "auto"
        self.ranks: Ranks = ALONE
        self.sharding = "ddp"

    def start(self, seed: int) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)

    def join_ranks(self, timeout_seconds: float) -> RankLink:
        self.ranks = joined = join_ranks(timeout_seconds)
        return joined

    def lost_others(self, error: BaseException) -> bool:
        return lost_others(error)

    def remember_rng(self) -> None:
        states = {"torch": torch.get_rng_state()}
        states |= {f"cuda_{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
        self._remembered = states, np.random.get_state(), random.getstate()

    def save_rng(self, directory: Path) -> None:
        states, (name, keys, position, has_gauss, cached), (version, internal, gauss) = self._remembered
        save_file(states, directory / "torch.safetensors")
        plain = {
            "numpy": [name, [int(key) for key in keys], position, has_gauss, cached],
            "python": [version, list(internal), gauss],
        }
        (directory / "python.json").write_text(json.dumps(plain))

    def load_rng(self, directory: Path) -> None:
        states = load_file(directory / "torch.safetensors")
        torch.set_rng_state(states["torch"])
        for i in range(min(torch.cuda.device_count(), len(states) - 1)):
            torch.cuda.set_rng_state(states[f"cuda_{i}"], i)
        plain = json.loads((directory / "python.json").read_text())
        name, keys, position, has_gauss, cached = plain["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
        version, internal, gauss = plain["python"]
        random.setstate((version, tuple(internal), gauss))

    def use(self, device: torch.device, release_cache: ReleaseCache) -> None:
        """From now on memory is that of `device`."""
        self._device = device
        self._cuda = CudaMemory(device) if device.type == "cuda" else None
        self._release_cache = release_cache

    def memory(self) -> dict[str, int]:
        figures, budget = self._process.read(), budget_in_force()
        if self._cuda is not None:
            return figures | self._cuda.read()
        if budget is not None:
            return figures | {"allocated": budget.in_use, "peak": budget.peak, "limit": budget.limit_bytes}
        return figures

    def reset_peak(self) -> None:
        self._process.reset_peak()
        budget = budget_in_force()
        if budget is not None:
            budget.peak = budget.in_use
        if self._cuda is not None:
            self._cuda.reset_peak()

    def release_cache(self) -> None:
        if self._cuda is not None and worth_releasing(self._cuda.read(), self._release_cache):
            torch.cuda.empty_cache()

    def memory_snapshot(self) -> dict[str, Any]:
        if self._cuda is not None:
            return self._cuda.snapshot()
        budget = budget_in_force()
        return {"allocator": "budget", "storages": budget.storage_sizes()} if budget is not None else {}

    def is_out_of_memory(self, error: BaseException) -> bool:
        return is_out_of_memory(error)

    def environment(self) -> dict[str, str]:
        on_gpu = self._device.type == "cuda"
        return {
            "device": torch.cuda.get_device_name(self._device) if on_gpu else str(self._device),
            "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
            "threads": str(torch.get_num_threads()),
            "ranks": str(self.ranks.size),
            "sharding": self.sharding,
            "deterministic": str(torch.are_deterministic_algorithms_enabled()),
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        }
