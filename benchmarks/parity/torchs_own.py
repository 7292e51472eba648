"""Advantages and returns beside torch's own reinforcement-learning library (TorchRL)."""

from __future__ import annotations

import torch
from torchrl.objectives.value.functional import generalized_advantage_estimate

from benchmarks.parity.update import Row
from rlhf_engine.advantages import generalized_advantages

GAMMA, LAMBDA = 0.99, 0.95


def gae_parity() -> list[Row]:
    """GAE of responses of unequal length; TorchRL is told that each ends with its last token."""
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 64, 24, generator=generator)
    lengths = torch.randint(1, 25, (64, 1), generator=generator)
    mask = torch.arange(24) < lengths
    last = torch.arange(24) == lengths - 1
    ours = generalized_advantages(rewards, values, mask, gamma=GAMMA, gae_lambda=LAMBDA)
    next_values = torch.cat([values[:, 1:], torch.zeros(64, 1)], dim=1)
    columns = [part.unsqueeze(-1) for part in (values, next_values, rewards, last)]
    theirs = generalized_advantage_estimate(GAMMA, LAMBDA, *columns, terminated=columns[-1])
    return [
        Row(f"{name} (TorchRL)", float((a - b.squeeze(-1))[mask].abs().max()), 1e-5)
        for name, a, b in zip(("advantages", "returns"), ours, theirs, strict=True)
    ]
