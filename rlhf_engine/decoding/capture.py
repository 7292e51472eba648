"""Steps that a GPU is given whole, and what the host may know of their results without waiting for them.

Launching a kernel takes the host longer than a small model's kernel takes the GPU; a captured graph is one launch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Step = Callable[[int, int], None]


class CapturedSteps:
    """Captures a step once for each (rows, reach) and replays it. It must change tensors in place only."""

    def __init__(self) -> None:
        self._graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
        self._pool: Any = torch.cuda.graph_pool_handle()

    def run(self, step: Step, rows: int, reach: int) -> None:
        """Takes the step as it is for the first time, which also readies the libraries that it calls."""
        graph = self._graphs.get((rows, reach))
        if graph is not None:
            graph.replay()
            return
        step(rows, reach)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            step(rows, reach)
        self._graphs[rows, reach] = graph


class EndedRows:
    """How many rows have ended: on a CPU now, on a GPU when last heard of, without waiting."""

    def __init__(self, ended: Tensor) -> None:
        self._ended = ended
        self._asked: torch.cuda.Event | None = None
        self._live = self._known = 0
        self._answer = torch.zeros((), dtype=torch.long, pin_memory=ended.device.type == "cuda")

    def count(self, live: int) -> int:
        """Of the first `live` rows; on a GPU at most that."""
        if self._ended.device.type != "cuda":
            return int(self._ended[:live].sum())
        if live != self._live:
            self._live, self._known, self._asked = live, 0, None
        if self._asked is None or self._asked.query():
            self._known = int(self._answer) if self._asked else self._known
            self._answer.copy_(self._ended[:live].sum(), non_blocking=True)
            self._asked = torch.cuda.Event()
            self._asked.record()
        return self._known
