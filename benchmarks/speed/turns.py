"""A contender's half of a paired run: it works when told to, and says what that cost.

A line from the session is a turn; the answer is a line of JSON. What libraries print goes to standard error.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, TextIO

import torch

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"
MIB = 1 << 20


class Turns:
    """`ready()` once, then `begin()` and `end()` around each piece of work; `begin()` ends the process after all."""

    def __init__(self, device: str, said: TextIO, answers: TextIO) -> None:
        self._said, self._answers, self._on_gpu = said, answers, device.startswith("cuda")
        self._resting_bytes = 0
        self._cpu_began = self._wall_began = 0.0

    def ready(self) -> None:
        """Everything is loaded; what is in memory now is no part of a turn's own memory."""
        self._resting_bytes = torch.cuda.memory_allocated() if self._on_gpu else _resident("VmRSS")
        self._answer({})

    def begin(self) -> None:
        if not self._said.readline():
            raise SystemExit(0)
        self._reset_peak()
        self._cpu_began, self._wall_began = time.process_time(), self._now()

    def end(self, **figures: float) -> None:
        wall = self._now() - self._wall_began
        cpu = time.process_time() - self._cpu_began
        peak = torch.cuda.max_memory_allocated() if self._on_gpu else _resident("VmHWM")
        cost = {"cpu_seconds": cpu, "wall_seconds": wall, "peak_mib": peak / MIB}
        cost["peak_above_rest_mib"] = (peak - self._resting_bytes) / MIB
        self._answer(cost | {"figures": figures})

    def _answer(self, message: dict[str, Any]) -> None:
        self._answers.write(json.dumps(message) + "\n")
        self._answers.flush()

    def _now(self) -> float:
        """A GPU works on behind our back until it is waited for."""
        if self._on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def _reset_peak(self) -> None:
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        elif CLEAR_REFS.exists():
            CLEAR_REFS.write_text(RESET_PEAK)


def _resident(key: str) -> int:
    """Bytes by the system's account; VmRSS: now, VmHWM: at most since the last reset."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024
