"""Which examples a step sees: a pure function of (seed, step), so that a resumed run needs no saved order."""

from __future__ import annotations

from functools import lru_cache

import torch


@lru_cache(maxsize=2)
def _epoch_order(size: int, epoch: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(size, generator=generator).tolist()
    return order


def shuffled_batch(size: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Indices of step `step` (from 0) in an endless stream of shuffled passes over `size` examples."""
    positions = range(step * batch_size, (step + 1) * batch_size)
    return [_epoch_order(size, position // size, seed)[position % size] for position in positions]


def steps_in(size: int, batch_size: int, epochs: int, max_steps: int = 0) -> int:
    """Optimizer steps in `epochs` passes, at least one; at most `max_steps` where that is not 0."""
    steps = max(size * epochs // batch_size, 1)
    return min(steps, max_steps) if max_steps else steps
