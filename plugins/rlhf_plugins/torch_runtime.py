"""`Runtime` for every trainer that uses torch: seeds, random states, memory."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import psutil
import torch
from safetensors.torch import load_file, save_file

from rlhf_engine.out_of_memory import is_out_of_memory


class TorchRuntime:
    """Built before the worker's `Trainer.setup`; the device is known once the config is."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def start(self, seed: int) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)

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

    def memory(self) -> dict[str, int]:
        figures = {"rss": self._process.memory_info().rss}
        if torch.cuda.is_available():
            figures |= {
                "allocated": torch.cuda.memory_allocated(),
                "reserved": torch.cuda.memory_reserved(),
                "peak": torch.cuda.max_memory_allocated(),
            }
        return figures

    def reset_peak(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def is_out_of_memory(self, error: BaseException) -> bool:
        return is_out_of_memory(error)
