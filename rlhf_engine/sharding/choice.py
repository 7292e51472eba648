"""Which layout each role has, as the config says, and what can't be had together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlhf_engine.config import Precision, ShardingConfig, ShardingLayout
from rlhf_engine.errors import ConfigError

FSDP_LAYOUTS = ("zero-2", "zero-3")
TRAINED = ("model", "value_model")


def layout_of(sharding: ShardingConfig, role: str) -> ShardingLayout:
    """Of `model`, `value_model`, `ref_model` or `reward_model`; a frozen model has weights alone to shard."""
    said: Any = getattr(sharding, role, "")
    chosen: ShardingLayout = said or sharding.model
    return chosen if role in TRAINED or chosen == "zero-3" else "ddp"


def layouts_in_words(sharding: ShardingConfig, roles: Sequence[str]) -> str:
    """Of what is trained: one name, or one for each role where they differ."""
    layouts = {role: layout_of(sharding, role) for role in roles if role in TRAINED}
    if len(set(layouts.values())) == 1:
        return next(iter(layouts.values()))
    return ", ".join(f"{role} {layout}" for role, layout in layouts.items())


def check_sharding(
    sharding: ShardingConfig, roles: Sequence[str], *, ranks: int, device: str, compute: Precision
) -> None:
    """Raises ConfigError where `roles` can't be laid out so on this many ranks. `device`: its type."""
    layouts = {role: layout_of(sharding, role) for role in roles}
    sharded = {role: layout for role, layout in layouts.items() if layout != "ddp"}
    if sharded and ranks == 1:
        role, layout = next(iter(sharded.items()))
        raise ConfigError(
            f'sharding.{role}: "{layout}" shares a model out over several ranks, and this is one process; '
            'start it with --nproc, or use "ddp"'
        )
    gathered = any(layout in FSDP_LAYOUTS for layout in sharded.values())
    if sharding.gather_dtype == "bfloat16" and not (gathered and compute == "bfloat16"):
        raise ConfigError(
            'sharding.gather_dtype: "bfloat16" is for weights that are gathered (zero-2, zero-3) for matrix products '
            'in bfloat16; set precision.compute = "bfloat16" and such a layout, or use "float32"'
        )
    if sharding.offload and (device == "cpu" or not any(role not in TRAINED for role in sharded)):
        raise ConfigError(
            "sharding.offload: only weights of frozen models (ref_model, reward_model) in layout zero-3 of a run on "
            "GPUs can lie in the host's memory; there are none here"
        )
