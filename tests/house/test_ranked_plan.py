"""The plan of one of several ranks by hand: what it holds, gathers and sends under each layout."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from engine_models import word_tokenizer
from rlhf_engine import ranks as ranks_module
from rlhf_engine.config import (
    Architecture,
    DPOConfig,
    InitConfig,
    LoraConfig,
    ModelConfig,
    PPOConfig,
    PPOShardingConfig,
    PrecisionConfig,
    SFTConfig,
    TokenizerConfig,
)
from rlhf_engine.errors import ConfigError
from rlhf_engine.known_models import KNOWN_MODELS, shape_of
from rlhf_engine.layout_plan import plan_ppo
from rlhf_engine.memory_plan import plan_sft
from rlhf_engine.memory_rows import ALWAYS, MemoryRow
from rlhf_engine.models import load_policy
from rlhf_engine.ranked_plan.models import language_model
from rlhf_engine.ranked_plan.placing import Place
from rlhf_engine.ranked_plan.shares import BUCKET_BYTES, bucket, cut, dealt
from rlhf_engine.ranked_plan.steps import ppo_traffic, preferences_traffic, sft_traffic
from rlhf_engine.ranked_plan.tensors import Tensor, block_tensors, numbers, root_tensors, score_tensors
from rlhf_engine.ranked_plan.traffic import Sent, to_ranks

H, L, W, V = 64, 2, 128, 512
BLOCK = 4 * H * H + 3 * H * W + 2 * H
ROOT = V * H + H
TINY = ModelConfig(init=InitConfig(hidden_size=H, layers=L, heads=4, intermediate_size=W))
TOKENIZER = TokenizerConfig(train_vocab_size=V)
SFT = SFTConfig(model=TINY, tokenizer=TOKENIZER, batch_size=32, micro_batch_size=4)


def ppo(**changes: Any) -> PPOConfig:
    settings = {"batch_size": 32, "micro_batch_size": 4, "rollout_batch_size": 32, "response_tokens": 10} | changes
    return PPOConfig(model=TINY, reward_model=TINY, tokenizer=TOKENIZER, **settings)


def laid_out(config: Any, model: str, **more: Any) -> Any:
    return msgspec.structs.replace(config, sharding=type(config.sharding)(model=model, **more))


def bytes_of(rows: list[MemoryRow]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        found[row.what, row.phase] = found.get((row.what, row.phase), 0) + row.bytes
    return found


def by_kind(sent: list[Sent]) -> dict[tuple[str, str], int]:
    return {(one.phase, one.what): one.bytes for one in sent}


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "gpt2"])
def test_tensors_are_those_of_the_model(architecture: Architecture) -> None:
    model = ModelConfig(init=InitConfig(architecture=architecture, hidden_size=32, layers=3, heads=4))
    network: nn.Module = load_policy(model, word_tokenizer(), torch.device("cpu"))
    shape = shape_of(model, TokenizerConfig(train_vocab_size=len(word_tokenizer())))
    tensors = [*(list(block_tensors(shape)) * 3), *root_tensors(shape, output_head=True)]
    real = sorted((part.shape[0], part.numel() // part.shape[0]) for part in network.parameters())
    assert sorted(map(tuple, tensors)) == real


@pytest.mark.parametrize("name", KNOWN_MODELS)
def test_tensors_of_known_models_have_as_many_numbers_as_their_formulas(name: str) -> None:
    shape = KNOWN_MODELS[name]
    assert numbers(block_tensors(shape)) == shape.block_parameters
    assert numbers(root_tensors(shape, output_head=False)) == shape.trunk_parameters - shape.layers * (
        shape.block_parameters
    )
    assert numbers(root_tensors(shape, output_head=True)) - numbers(root_tensors(shape, output_head=False)) == (
        shape.head_parameters
    )
    assert numbers(score_tensors(shape)) == shape.score_parameters


def test_a_tensor_is_cut_into_rows_the_last_pieces_padded() -> None:
    """50257 rows over 8 ranks are 6283 on each; a vector of 3 over 2 ranks 2."""
    assert cut([Tensor(50257, 768)], 8) == 6283 * 768
    assert cut([Tensor(3), Tensor(4, 5)], 2) == 2 + 2 * 5


def test_whole_tensors_go_to_the_rank_that_has_least() -> None:
    """10 | 7, then 6 to the second, 5 to the first: 15 and 13."""
    assert dealt([Tensor(5), Tensor(7), Tensor(10), Tensor(6)], 2) == 15
    assert dealt([Tensor(100, 1000), Tensor(1), Tensor(1)], 64) == 100_000


def test_a_bucket_is_what_is_copied_together() -> None:
    assert BUCKET_BYTES == ranks_module.BUCKET_BYTES
    large, small = Tensor(BUCKET_BYTES // 4 + 1), Tensor(1000)
    assert bucket([large, small, small]) == 2000
    assert bucket([large]) == 0


def test_what_a_rank_holds_by_hand() -> None:
    """Of 4 ranks: everything in ddp, moments dealt in zero-1, a quarter of everything beyond."""
    whole, quarter = ROOT + L * BLOCK, (ROOT + L * BLOCK) // 4
    held = {name: bytes_of(plan_sft(laid_out(SFT, name), 4)) for name in ("ddp", "zero-1", "zero-2", "zero-3")}
    assert [held[name]["weights: policy", ALWAYS] for name in held] == [4 * whole, 4 * whole, 4 * quarter, 4 * quarter]
    # The embedding, 32768 numbers, is one rank's; the rest are fewer for each of the others.
    assert [held[name]["Adam moments: policy", ALWAYS] for name in held] == [
        8 * whole, 8 * V * H, 8 * quarter, 8 * quarter,
    ]  # fmt: skip
    assert held["zero-1"]["gradients: policy", "optimizer"] == 4 * whole
    assert held["zero-3"]["gradients: policy", "optimizer"] == 4 * quarter


def test_blocks_are_gathered_two_at_a_time_in_zero_3_and_stay_in_zero_2() -> None:
    rows = {name: bytes_of(plan_sft(laid_out(SFT, name), 4)) for name in ("zero-2", "zero-3")}
    assert rows["zero-2"]["gathered weights: policy", "backward"] == 4 * (ROOT + L * BLOCK)
    assert rows["zero-3"]["gathered weights: policy", "backward"] == 4 * (ROOT + 2 * BLOCK)
    assert ("gathered weights: policy", "backward") not in bytes_of(plan_sft(SFT, 4))


def test_one_rank_alone_needs_what_a_run_of_one_process_does() -> None:
    assert plan_sft(SFT, 1) == plan_sft(SFT)
    halved = msgspec.structs.replace(SFT, batch_size=16)
    assert [row for row in plan_sft(SFT, 2) if "bucket" not in row.what and row.what != "peak"] == plan_sft(halved)[:-1]


def test_traffic_of_supervised_training_by_hand() -> None:
    """4 ranks, 8 rows each in two micro-batches: rings send 3/4 or 6/4 of what there is."""
    whole = 4 * (ROOT + L * BLOCK)
    assert by_kind(sft_traffic(SFT, 4)) == {("optimizer", "gradients"): 6 * whole // 4}
    assert by_kind(sft_traffic(laid_out(SFT, "zero-1"), 4)) == {
        ("optimizer", "gradients"): 6 * whole // 4,
        ("optimizer", "weights"): 3 * whole // 4,
    }
    assert by_kind(sft_traffic(laid_out(SFT, "zero-2"), 4)) == {
        ("forward", "weights"): 2 * 3 * whole // 4,
        ("backward", "gradients"): 2 * 3 * whole // 4,
    }
    zero_3 = by_kind(sft_traffic(laid_out(SFT, "zero-3"), 4))
    assert zero_3["backward", "weights"] == 2 * 3 * 4 * L * BLOCK // 4
    assert zero_3["backward", "gradients"] == zero_3["forward", "weights"] == 2 * 3 * whole // 4


def test_weights_gathered_in_bf16_are_half_and_gradients_stay_fp32() -> None:
    plain, half = laid_out(SFT, "zero-3"), laid_out(SFT, "zero-3", gather_dtype="bfloat16")
    before, after = by_kind(sft_traffic(plain, 4)), by_kind(sft_traffic(half, 4))
    assert after["forward", "weights"] * 2 == before["forward", "weights"]
    assert after["backward", "gradients"] == before["backward", "gradients"]


def test_adapters_send_their_own_gradients_and_gather_the_backbone() -> None:
    config = msgspec.structs.replace(laid_out(SFT, "zero-3"), lora=LoraConfig(rank=4, targets=["q_proj"]))
    sent = by_kind(sft_traffic(config, 4))
    assert sent["optimizer", "gradients"] == 6 * 4 * L * 4 * (H + H) // 4
    assert sent["forward", "weights"] == 2 * 3 * 4 * (ROOT + L * BLOCK) // 4
    assert ("backward", "gradients") not in sent


def test_a_rollout_gathers_once_and_experience_is_joined() -> None:
    """4 ranks of 8 episodes, 10 tokens: ids and masks, a log-probability and an entropy each, values, scores."""
    config = ppo(sharding=PPOShardingConfig(model="zero-3", value_model="ddp", reward_model="ddp", ref_model="ddp"))
    sent = by_kind(ppo_traffic(config, 4))
    assert sent["rollout", "weights"] == 3 * 4 * (ROOT + L * BLOCK) // 4
    assert sent["policy logprobs", "weights"] == 3 * 4 * (ROOT + 2 * L * BLOCK) // 4
    joined = {phase: count for (phase, what), count in sent.items() if what == "rows"}
    assert joined == {
        "rollout": 3 * 8 * (9 * 10 + 1), "policy logprobs": 3 * 8 * 80, "reference logprobs": 3 * 8 * 80,
        "values": 3 * 8 * 40, "scores": 3 * 8 * 8,
    }  # fmt: skip


def test_an_update_sums_once_for_each_optimizer_step() -> None:
    one, four = ppo(), ppo(ppo_epochs=2, minibatches=2)
    scalar = 4 * (ROOT + L * BLOCK + H)
    policy = 4 * (ROOT + L * BLOCK)
    assert by_kind(ppo_traffic(one, 4))["optimizer", "gradients"] == 4 * 6 * (scalar + policy) // 4
    assert by_kind(ppo_traffic(four, 4))["optimizer", "gradients"] == 4 * 6 * (scalar + policy) // 4


def test_a_frozen_reference_is_gathered_in_zero_3_alone() -> None:
    dpo = DPOConfig(model=TINY, tokenizer=TOKENIZER, batch_size=32, micro_batch_size=4, group_by_prompt=False)
    whole, blocks = 3 * (ROOT + L * BLOCK), 3 * L * BLOCK
    two, three = (by_kind(preferences_traffic(laid_out(dpo, name), 4)) for name in ("zero-2", "zero-3"))
    assert two["forward", "weights"] == 2 * whole
    assert three["forward", "weights"] == 2 * whole + 2 * blocks + 3 * ROOT


def test_offloaded_weights_wait_on_the_host_and_are_copied() -> None:
    config = ppo(sharding=PPOShardingConfig(model="zero-3", offload=True))
    rows, sent = bytes_of(plan_ppo(config, 4)), ppo_traffic(config, 4)
    assert ("weights: ref_policy", ALWAYS) not in rows
    assert rows["weights: policy", ALWAYS] == ROOT + L * BLOCK
    copied = {one.phase: one.bytes for one in sent if one.what == "from the host"}
    assert copied["reference logprobs"] == ROOT + 2 * L * BLOCK
    assert to_ranks(sent) == sum(one.bytes for one in sent) - sum(copied.values())


def test_experience_is_of_all_ranks_and_activations_are_not() -> None:
    rows = {size: bytes_of(plan_ppo(ppo(), size)) for size in (1, 4, 8)}
    assert len({rows[size]["experience", ALWAYS] for size in rows}) == 1
    kept = [rows[size]["activations: policy", "backward"] for size in rows]
    assert kept[0] == kept[1] == kept[2]
    assert rows[8]["KV cache", "rollout"] * 8 == rows[1]["KV cache", "rollout"]


def test_rows_that_cannot_be_dealt_are_said() -> None:
    with pytest.raises(ConfigError, match="32 rows can't be dealt evenly to 5 ranks; choose a multiple of 5"):
        plan_sft(SFT, 5)


def test_bf16_copies_are_for_weights_that_are_not_gathered_so() -> None:
    half = PrecisionConfig(compute="bfloat16")
    plain = msgspec.structs.replace(laid_out(SFT, "zero-3"), precision=half)
    gathered = msgspec.structs.replace(laid_out(SFT, "zero-3", gather_dtype="bfloat16"), precision=half)
    assert ("bf16 copies: policy", "forward") in bytes_of(plan_sft(plain, 4))
    assert ("bf16 copies: policy", "forward") not in bytes_of(plan_sft(gathered, 4))


def test_a_wider_ring_sends_more_but_never_twice_the_whole() -> None:
    model = language_model(KNOWN_MODELS["eleutherai/pythia-1b"], Place(ranks=8), trained=True)
    assert model.trained_numbers == 1_011_781_632
    sizes = [by_kind(sft_traffic(SFT, size))["optimizer", "gradients"] for size in (2, 4, 8, 16, 32)]
    assert sizes == sorted(sizes) and sizes[-1] < 2 * 4 * (ROOT + L * BLOCK)
