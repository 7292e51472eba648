"""AdamW whose moments are whole on each rank, shards of sharded parameters, or dealt out parameter by parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from rlhf_engine.config import OptimizerConfig
from rlhf_engine.sharding.state import is_shard


def new_adamw(
    parameters: Sequence[nn.Parameter], config: OptimizerConfig, *, partitioned: bool
) -> torch.optim.Optimizer:
    """`partitioned` (zero-1): each parameter's moments are on one rank, which steps it and sends it to the others."""
    settings: dict[str, Any] = {
        "lr": config.lr, "betas": config.betas, "eps": config.eps, "weight_decay": config.weight_decay, "fused": True,
    }  # fmt: skip
    if not partitioned:
        return torch.optim.AdamW(_groups(parameters), **settings)
    from torch.distributed.optim import ZeroRedundancyOptimizer

    return ZeroRedundancyOptimizer(parameters, torch.optim.AdamW, **settings)


def own_optimizer(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The one that holds this rank's moments."""
    own: torch.optim.Optimizer = getattr(optimizer, "optim", optimizer)
    return own


def _groups(parameters: Sequence[nn.Parameter]) -> list[dict[str, Any]]:
    """Shards apart from whole parameters: a fused step takes one kind at a time."""
    kinds = ([p for p in parameters if is_shard(p)], [p for p in parameters if not is_shard(p)])
    return [{"params": kind} for kind in kinds if kind]
