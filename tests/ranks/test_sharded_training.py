"""Sharded models train as whole ones do: 1 rank = 2 = 4, in each layout, for each algorithm and family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from processes import in_ranks
from rlhf_engine.config import PPOShardingConfig
from rlhf_engine.ranks import ALONE, Ranks
from test_world_sizes import TOLERANCE, assert_alike
from trained import WHOLE, Setting, Trained, train

ZERO_1 = PPOShardingConfig(model="zero-1")
ZERO_2, ZERO_3 = PPOShardingConfig(model="zero-2"), PPOShardingConfig(model="zero-3")
MIXED = PPOShardingConfig(model="zero-2", value_model="zero-3", ref_model="ddp", reward_model="zero-3")
OFFLOADED = PPOShardingConfig(model="zero-1", ref_model="zero-3", reward_model="zero-3", offload=True)
CASES: dict[str, tuple[str, Setting]] = {
    "sft zero-2 llama": ("sft", Setting(sharding=ZERO_2)),
    "sft zero-3 gpt2": ("sft", Setting(sharding=ZERO_3, architecture="gpt2")),
    "sft zero-3 gpt_neox": ("sft", Setting(sharding=ZERO_3, architecture="gpt_neox")),
    "ppo zero-2": ("ppo", Setting(sharding=ZERO_2)),
    "ppo zero-3": ("ppo", Setting(sharding=ZERO_3)),
    "ppo mixed gpt_neox": ("ppo", Setting(sharding=MIXED, architecture="gpt_neox")),
    "sft zero-1": ("sft", Setting(sharding=ZERO_1)),
    "ppo zero-1 and offload": ("ppo", Setting(sharding=OFFLOADED)),
    "ppo shared trunk zero-2": ("ppo", Setting(sharding=ZERO_2, models="shared_trunk")),
    "ppo shared trunk zero-3 gpt2": ("ppo", Setting(sharding=ZERO_3, models="shared_trunk", architecture="gpt2")),
    "ppo adapters zero-3": ("ppo", Setting(sharding=ZERO_3, models="adapters")),
    "ppo adapters zero-1 gpt_neox": ("ppo", Setting(sharding=ZERO_1, models="adapters", architecture="gpt_neox")),
    "rm zero-3": ("rm", Setting(sharding=ZERO_3)),
    "dpo zero-3": ("dpo", Setting(sharding=ZERO_3)),
    "grpo zero-3": ("grpo", Setting(sharding=ZERO_3)),
}


def train_cases(ranks: Ranks, names: list[str]) -> dict[str, Trained]:
    return {name: train(ranks, *CASES[name]) for name in names}


def alone(name: str) -> Any:
    what, setting = CASES[name]
    return train(ALONE, what, replace(setting, sharding=WHOLE))


@pytest.mark.parametrize("size,names", [(2, list(CASES)), (4, ["ppo zero-3"])])
def test_sharded_ranks_train_as_one_process_for_20_steps(size: int, names: list[str]) -> None:
    by_rank = in_ranks(size, train_cases, names)
    for name in names:
        expected = alone(name)
        for found in by_rank:
            assert_alike(found[name], expected, TOLERANCE)
