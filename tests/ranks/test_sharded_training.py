"""Sharded models train as whole ones do: 1 rank = 2 = 4, in each layout, for each algorithm and family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from processes import in_ranks
from rlhf_engine.config import PPOShardingConfig, ShardingConfig
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
    "ppo mixed gpt_neox": ("ppo", Setting(sharding=MIXED, architecture="gpt_neox", steps=8)),
    "sft zero-1": ("sft", Setting(sharding=ZERO_1)),
    "ppo zero-1 and offload": ("ppo", Setting(sharding=OFFLOADED, steps=8)),
    "ppo shared trunk zero-2": ("ppo", Setting(sharding=ZERO_2, models="shared_trunk", steps=8)),
    "ppo shared trunk zero-3 gpt2": ("ppo", Setting(sharding=ZERO_3, models="shared_trunk", architecture="gpt2")),
    "ppo adapters zero-3": ("ppo", Setting(sharding=ZERO_3, models="adapters", steps=8)),
    "ppo adapters zero-1 gpt_neox": (
        "ppo",
        Setting(sharding=ZERO_1, models="adapters", architecture="gpt_neox", steps=8),
    ),
    "ppo zero-3 eager": ("ppo", Setting(torch.float32, ZERO_3, steps=4, eager=True)),
    "sft zero-3 checkpointing": ("sft", Setting(sharding=ZERO_3, steps=8, checkpointing=True)),
    "rm zero-3": ("rm", Setting(sharding=ZERO_3)),
    "dpo zero-3": ("dpo", Setting(sharding=ZERO_3)),
    "grpo zero-3": ("grpo", Setting(sharding=ZERO_3)),
}


BF16 = ShardingConfig(model="zero-3", gather_dtype="bfloat16")
GATHERED_IN_BF16 = {
    "sft": Setting(torch.float32, BF16, "gpt2", steps=8, compute="bfloat16"),
    "ppo": Setting(torch.float32, BF16, "gpt_neox", steps=8, compute="bfloat16"),
}


def train_cases(ranks: Ranks, names: list[str]) -> dict[str, Trained]:
    return {name: train(ranks, *CASES[name]) for name in names}


def alone(name: str) -> Any:
    what, setting = CASES[name]
    return train(ALONE, what, replace(setting, sharding=WHOLE))


ONLINE = [name for name, (what, _) in CASES.items() if what == "ppo"]
OTHERS = [name for name in CASES if name not in ONLINE]


@pytest.mark.parametrize("size,names", [(2, ONLINE), (2, OTHERS), (4, ["sft zero-3 gpt2", "dpo zero-3"])])
def test_43_sharded_ranks_train_as_one_process(size: int, names: list[str]) -> None:
    by_rank = in_ranks(size, train_cases, names)
    for name in names:
        expected = alone(name)
        for found in by_rank:
            assert_alike(found[name], expected, TOLERANCE if CASES[name][1].dtype is torch.float64 else 1e-4)


def train_in_bf16(ranks: Ranks) -> dict[str, Trained]:
    return {what: train(ranks, what, setting) for what, setting in GATHERED_IN_BF16.items()}


def test_weights_gathered_in_bf16_train_about_as_those_that_are_cast() -> None:
    found = in_ranks(2, train_in_bf16)[0]
    expected = {
        what: train(ALONE, what, replace(setting, sharding=WHOLE)) for what, setting in GATHERED_IN_BF16.items()
    }
    for step in (0, -1):
        assert found["sft"][0][step]["loss"] == pytest.approx(expected["sft"][0][step]["loss"], rel=0.05)
    first, whole = found["ppo"][0][0], expected["ppo"][0][0]
    assert first["kl/sequence_nats"] == 0.0, "policy and reference are gathered alike"
    assert first["policy/entropy_nats"] == pytest.approx(whole["policy/entropy_nats"], rel=0.1)
    assert first["policy/entropy_nats"] != whole["policy/entropy_nats"]
