"""Sharded models train as whole ones do: 1 rank = 2 = 4, in each layout, for each algorithm and family."""

from __future__ import annotations

from typing import Any

import pytest

from processes import in_ranks
from rlhf_engine.config import PPOShardingConfig
from rlhf_engine.ranks import ALONE, Ranks
from test_world_sizes import TOLERANCE, assert_alike
from trained import Setting, Trained, train

ZERO_2, ZERO_3 = PPOShardingConfig(model="zero-2"), PPOShardingConfig(model="zero-3")
MIXED = PPOShardingConfig(model="zero-2", value_model="zero-3", ref_model="ddp", reward_model="zero-3")
CASES: dict[str, tuple[str, Setting]] = {
    "sft zero-2 llama": ("sft", Setting(sharding=ZERO_2)),
    "sft zero-3 gpt2": ("sft", Setting(sharding=ZERO_3, architecture="gpt2")),
    "sft zero-3 gpt_neox": ("sft", Setting(sharding=ZERO_3, architecture="gpt_neox")),
    "ppo zero-2": ("ppo", Setting(sharding=ZERO_2)),
    "ppo zero-3": ("ppo", Setting(sharding=ZERO_3)),
    "ppo mixed gpt_neox": ("ppo", Setting(sharding=MIXED, architecture="gpt_neox")),
    "rm zero-3": ("rm", Setting(sharding=ZERO_3)),
    "dpo zero-3": ("dpo", Setting(sharding=ZERO_3)),
    "grpo zero-3": ("grpo", Setting(sharding=ZERO_3)),
}


def train_cases(ranks: Ranks, names: list[str]) -> dict[str, Trained]:
    return {name: train(ranks, *CASES[name]) for name in names}


def alone(name: str) -> Any:
    what, setting = CASES[name]
    return train(ALONE, what, Setting(setting.dtype, architecture=setting.architecture))


@pytest.mark.parametrize("size,names", [(2, list(CASES)), (4, ["ppo zero-3"])])
def test_sharded_ranks_train_as_one_process_for_20_steps(size: int, names: list[str]) -> None:
    by_rank = in_ranks(size, train_cases, names)
    for name in names:
        expected = alone(name)
        for found in by_rank:
            assert_alike(found[name], expected, TOLERANCE)
