"""Models sharded by FSDP2: a unit's weights are gathered, used and let go together.

A unit holds one transformer block of every role that shares its weights; the root holds what is outside the blocks
(embeddings, final norm, output head), and is gathered for the whole forward and backward pass. What a forward calls is
not `forward` but our own functions (trunk.py), so each goes through its unit's `run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from rlhf_engine.models import backbone_of
from rlhf_engine.sharding.state import Shards


class Unit(nn.Module):
    """Modules whose weights are gathered together, and modules of units within it."""

    def __init__(self, parts: Iterable[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(*arguments)` with the weights gathered; FSDP2 wraps it."""
        return function(*arguments)


@dataclass(frozen=True)
class Sharding:
    """Of models that share weights. `reshards`: a block's weights are let go after its forward (zero-3), not only
    after its backward (zero-2). `gather_dtype`: None is the weights' own.
    """

    device: torch.device
    ranks: int
    reshards: bool
    gather_dtype: torch.dtype | None = None
    offload: bool = False


def shard(models: Sequence[nn.Module], blocks_of: Callable[[nn.Module], Sequence[nn.Module]], how: Sharding) -> None:
    """Shards models that share weights, in place, block by block; says nothing to other ranks, which do the same.

    `blocks_of` a backbone: its transformer blocks, none where it is called as a whole. Adapters and scalar heads stay
    whole on each rank. Parameters are new objects afterwards: optimizers are made later.
    """
    backbones = _distinct(backbone_of(model) for model in models)
    columns = [list(blocks_of(backbone)) for backbone in backbones]
    whole = {parameter for model in models for parameter in small_parameters(model)}
    units = [_sharded(_distinct(row), how, whole, reshards=how.reshards) for row in zip(*columns, strict=True)]
    inside = {id(module) for column in columns for block in column for module in block.modules()}
    outside = _distinct(part for model in models for part in model.modules() if id(part) not in inside)
    root = _sharded([*filter(_has_tensors, outside), *units], how, whole, reshards=False)
    for backbone in backbones:
        vars(backbone)["shards"] = Shards(root, units, how.reshards)
    for parameter in whole:
        parameter.data = parameter.data.to(how.device)


def small_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Adapters and scalar heads, which are whole on each rank."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if any(part == "score" or part.startswith("lora_") for part in name.split("."))
    ]


def _sharded(parts: Iterable[nn.Module], how: Sharding, whole: set[nn.Parameter], *, reshards: bool) -> Any:
    unit: Any = fully_shard(
        Unit(parts),
        mesh=init_device_mesh(how.device.type, (how.ranks,)),
        reshard_after_forward=reshards,
        mp_policy=_precision(how.gather_dtype),
        offload_policy=CPUOffloadPolicy(pin_memory=how.device.type == "cuda") if how.offload else OffloadPolicy(),
        ignored_params=whole,
    )
    # A loss is this rank's share of a sum over the whole minibatch: gradients are summed, not averaged.
    unit.set_gradient_divide_factor(1.0)
    unit.set_force_sum_reduction_for_comms(True)
    register_fsdp_forward_method(unit, "run")
    return unit


def _precision(gather_dtype: torch.dtype | None) -> MixedPrecisionPolicy:
    reduce_dtype = torch.float32 if gather_dtype else None
    return MixedPrecisionPolicy(gather_dtype, reduce_dtype, cast_forward_inputs=False)


def _distinct(modules: Iterable[nn.Module]) -> list[nn.Module]:
    return list({id(module): module for module in modules}.values())


def _has_tensors(module: nn.Module) -> bool:
    """Of its own, not of modules within it."""
    return any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False)))
