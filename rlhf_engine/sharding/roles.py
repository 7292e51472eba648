"""The roles of a run laid out over its ranks, as the config says."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import nn

from rlhf_engine.config import ShardingConfig
from rlhf_engine.errors import ConfigError
from rlhf_engine.sharding.choice import FSDP_LAYOUTS, TRAINED, layout_of
from rlhf_engine.trunk import blocks_of

CPU = torch.device("cpu")


def loading_device(
    sharding: ShardingConfig, roles: Mapping[str, nn.Module] | tuple[str, ...], device: torch.device
) -> torch.device:
    """Where models are loaded: a rank's GPU never holds the whole of one that is sharded."""
    return CPU if any(layout_of(sharding, role) in FSDP_LAYOUTS for role in roles) else device


def lay_out(roles: Mapping[str, nn.Module], sharding: ShardingConfig, device: torch.device, ranks: int) -> None:
    """Shards the models of `roles`, in place, and puts the others on the device.

    Raises ConfigError where roles that share weights are to be laid out differently.
    """
    for group in sharing(roles):
        layout = _agreed(group, sharding)
        models = [roles[role] for role in group]
        if layout not in FSDP_LAYOUTS:
            for model in models:
                model.to(device)
            continue
        from rlhf_engine.sharding.units import Sharding, shard

        shard(
            models,
            blocks_of,
            Sharding(
                device,
                ranks,
                reshards=layout == "zero-3",
                gather_dtype=torch.bfloat16 if sharding.gather_dtype == "bfloat16" else None,
                offload=sharding.offload and not any(role in TRAINED for role in group),
            ),
        )


def sharing(roles: Mapping[str, nn.Module]) -> list[list[str]]:
    """The roles in groups that have weights in common."""
    weights = {role: {id(parameter) for parameter in model.parameters()} for role, model in roles.items()}
    groups = {role: [role] for role in roles}
    for one, other in combinations(roles, 2):
        if weights[one] & weights[other] and groups[one] is not groups[other]:
            groups[one] += groups[other]
            groups |= dict.fromkeys(groups[other], groups[one])
    return list({id(group): group for group in groups.values()}.values())


def _agreed(group: list[str], sharding: ShardingConfig) -> str:
    """What the first says, which is the one that is trained; the others may say the same, or nothing."""
    first = layout_of(sharding, group[0])
    for role in group[1:]:
        said = getattr(sharding, role, "")
        if said and said != first:
            raise ConfigError(
                f'sharding.{role}: "{said}", but it shares weights with {group[0]}, which is "{first}"; make them alike'
            )
    return first
