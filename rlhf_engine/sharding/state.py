"""What a sharded model is between its forward passes: at rest, or gathered; and its tensors, whole or one rank's.

Nothing here loads torch's sharding: a model that is whole on each rank needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rlhf_engine.models import backbone_of


@dataclass(frozen=True)
class Shards:
    """How a backbone is sharded: its root, and a unit for each of its blocks, if it goes block by block.

    `rests`: weights are let go as soon as they are not needed (zero-3).
    """

    root: Any
    units: Sequence[Any]
    rests: bool

    def gather(self) -> None:
        """Every weight becomes whole; all ranks together."""
        for unit in (self.root, *self.units):
            unit.unshard()

    def rest(self) -> None:
        """Every weight becomes this rank's shard; says nothing to other ranks."""
        for unit in (self.root, *self.units):
            unit.reshard()


def shards_of(model: nn.Module) -> Shards | None:
    """None where the model is whole on each rank."""
    return vars(backbone_of(model)).get("shards")


def is_shard(tensor: Tensor) -> bool:
    """Whether this rank holds a part of `tensor` alone (a DTensor)."""
    return hasattr(tensor, "placements")


def is_sharded(model: nn.Module) -> bool:
    return shards_of(model) is not None


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """All weights whole meanwhile, by one gathering: what goes token by token then asks nothing of other ranks."""
    shards = shards_of(model)
    if shards is not None:
        shards.gather()
    try:
        yield
    finally:
        rest_between_passes(model)


def rest_between_passes(model: nn.Module) -> None:
    """After passes without gradient, which leave what is outside the blocks gathered."""
    shards = shards_of(model)
    if shards is not None and shards.rests:
        shards.rest()


def rest(model: nn.Module) -> None:
    """Before parameters are read or written: those of a sharded model become shards."""
    shards = shards_of(model)
    if shards is not None:
        shards.rest()


def local(tensor: Tensor) -> Tensor:
    """This rank's part; the tensor itself where it is whole."""
    part: Tensor = tensor.to_local() if is_shard(tensor) else tensor  # type: ignore[attr-defined]
    return part


def placed_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole `tensor` as `like` is: on its device, and this rank's shard of it. Says nothing to other ranks."""
    tensor = tensor.to(like.device)
    if not is_shard(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    placement: Any = like
    return distribute_tensor(tensor, placement.device_mesh, placement.placements, src_data_rank=None)
