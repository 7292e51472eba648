"""What a rank keeps of a sharded model: exactly its part, counted in bytes; and what is refused."""

from __future__ import annotations

from math import ceil, prod
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from torch import nn

from engine_models import random_rollout
from processes import in_ranks
from rlhf_engine.config import PPOShardingConfig, ShardingConfig
from rlhf_engine.errors import ConfigError
from rlhf_engine.generation import generate_rollout
from rlhf_engine.memory_table import memory_table
from rlhf_engine.ranks import Ranks
from rlhf_engine.sft import SFTState, accumulate_gradients, sft_update
from rlhf_engine.sharding.choice import check_sharding, layout_of
from rlhf_engine.sharding.roles import lay_out, sharing
from rlhf_engine.sharding.state import is_shard, shards_of
from small_ppo import CPU, EOS, PAD
from trained import HOOKS, Setting

ROLES = ("model", "value_model", "ref_model", "reward_model")
FLOAT_BYTES = 4


def kept_bytes(ranks: Ranks, layout: Any) -> dict[str, int]:
    """Of a model after its first step, with the gradients of the second."""
    setting = Setting(torch.float32, ShardingConfig(model=layout), "gpt_neox", steps=2)
    policy = setting.policy()
    setting.lay_out(ranks, model=policy)
    state = SFTState(policy, setting.optimizer(policy.named_parameters(), ranks), ranks=ranks)
    sft_update(state, random_rollout(8), micro_batch_size=3, compute="float32", hooks=HOOKS)
    accumulate_gradients(state, random_rollout(8), 3, compute="float32", hooks=HOOKS)
    return {row.kind: row.bytes for row in memory_table({"policy": policy}, [state.optimizer], [])}


def in_all_layouts(ranks: Ranks) -> dict[str, dict[str, int]]:
    return {layout: kept_bytes(ranks, layout) for layout in ("ddp", "zero-2", "zero-3")}


def gatherings(ranks: Ranks) -> tuple[int, int, int]:
    """Units, gatherings in a rollout, and tokens that this rank sampled; ranks have other prompts and lengths."""
    setting = Setting(torch.float32, ShardingConfig(model="zero-3"))
    policy = setting.policy()
    setting.lay_out(ranks, model=policy)
    real = dist.all_gather_single
    with mock.patch.object(dist, "all_gather_single", side_effect=real) as counted:
        rollout = generate_rollout(
            policy, [[3 + ranks.rank]], episodes=[ranks.rank], seed=0, response_tokens=4 + 20 * ranks.rank,
            temperature=0.7, eos_id=EOS, pad_id=PAD, batch_size=1, hooks=HOOKS,
        )  # fmt: skip
    shards = shards_of(policy)
    assert shards is not None and all(is_shard(parameter) for parameter in policy.parameters())
    return 1 + len(shards.units), counted.call_count, int(rollout.response_lengths.sum())


def test_a_rollout_gathers_weights_once_and_no_rank_waits_between_tokens() -> None:
    (units, first, few), (_, second, many) = in_ranks(2, gatherings)
    assert (first, second) == (units, units)
    assert few < many


def shard_sizes(model: nn.Module, ranks: int, rank: int) -> tuple[int, int]:
    """Numbers in a rank's rows, and with the padding that makes all ranks' rows as many."""
    own = padded = 0
    for parameter in model.parameters():
        rows, *rest = parameter.shape
        part = ceil(rows / ranks)
        own += max(min(part, rows - rank * part), 0) * prod(rest)
        padded += part * prod(rest)
    return own, padded


def test_a_rank_keeps_its_part_of_weights_gradients_and_moments() -> None:
    model = Setting(architecture="gpt_neox").policy()
    whole = sum(parameter.numel() for parameter in model.parameters())
    buffers = sum(buffer.numel() for buffer in {id(buffer): buffer for buffer in model.buffers()}.values())
    counters = len(list(model.parameters()))
    for rank, found in enumerate(in_ranks(2, in_all_layouts)):
        own, padded = shard_sizes(model, 2, rank)
        assert own < 0.53 * whole
        assert found["ddp"] == {
            "weights": FLOAT_BYTES * (whole + buffers),
            "gradients": FLOAT_BYTES * whole,
            "optimizer": FLOAT_BYTES * (2 * whole + counters),
        }
        for layout in ("zero-2", "zero-3"):
            assert found[layout] == {
                "weights": FLOAT_BYTES * (padded + buffers),
                "gradients": FLOAT_BYTES * padded,
                "optimizer": FLOAT_BYTES * (2 * own + counters),
            }


def test_a_frozen_model_has_weights_alone_to_shard() -> None:
    layouts = {
        model: [layout_of(PPOShardingConfig(model=model), role) for role in ROLES]
        for model in ("ddp", "zero-1", "zero-2", "zero-3")
    }
    assert layouts == {
        "ddp": ["ddp"] * 4,
        "zero-1": ["zero-1", "zero-1", "ddp", "ddp"],
        "zero-2": ["zero-2", "zero-2", "ddp", "ddp"],
        "zero-3": ["zero-3"] * 4,
    }
    by_role = PPOShardingConfig(model="zero-2", value_model="ddp", ref_model="zero-3", reward_model="ddp")
    assert [layout_of(by_role, role) for role in ROLES] == ["zero-2", "ddp", "zero-3", "ddp"]


@pytest.mark.parametrize(
    "sharding,changes,message",
    [
        (PPOShardingConfig(ref_model="zero-3"), {"ranks": 1}, 'sharding.ref_model: "zero-3" .* one process'),
        (ShardingConfig(model="zero-3", gather_dtype="bfloat16"), {}, "sharding.gather_dtype: .* precision.compute"),
        (ShardingConfig(model="zero-1", gather_dtype="bfloat16"), {"compute": "bfloat16"}, "sharding.gather_dtype"),
        (ShardingConfig(model="zero-3", offload=True), {"device": "cpu"}, "sharding.offload"),
        (PPOShardingConfig(value_model="zero-3", offload=True), {}, "sharding.offload: only weights of frozen models"),
    ],
)
def test_what_cannot_be_is_refused(sharding: ShardingConfig, changes: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"ranks": 2, "device": "cuda", "compute": "float32", **changes}
    with pytest.raises(ConfigError, match=message):
        check_sharding(sharding, ROLES, **settings)


def test_roles_that_share_weights_are_laid_out_alike() -> None:
    policy, critic = Setting().policy(), Setting().scalar_model()
    critic.network.model = policy.model
    roles = {"model": policy, "value_model": critic, "ref_model": Setting().policy()}
    assert sharing(roles) == [["model", "value_model"], ["ref_model"]]
    with pytest.raises(ConfigError, match=r'sharding\.value_model: "zero-3", but it shares weights'):
        lay_out(roles, PPOShardingConfig(value_model="zero-3"), CPU, 2)
