"""Floors of time against torch's own counter of operations, and by hand."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from engine_models import word_tokenizer
from rlhf_engine.activations import Batch
from rlhf_engine.config import InitConfig, ModelConfig, OptimizerConfig, PPOConfig, SFTConfig, TokenizerConfig
from rlhf_engine.config.data import DataConfig
from rlhf_engine.known_models import shape_of
from rlhf_engine.models import load_policy
from rlhf_engine.time_floors import Rates, decoding_seconds, head_flops, step_floors, trunk_flops

SIZES = InitConfig(hidden_size=64, layers=2, heads=4, kv_heads=2, intermediate_size=176)
TOKENIZER = TokenizerConfig(train_vocab_size=512)
SHAPE = shape_of(ModelConfig(init=SIZES), TOKENIZER)
ONE_EACH = Rates(flops=1.0, bandwidth=1.0)


def test_operations_of_a_forward_and_backward_are_what_torch_counts() -> None:
    """But for attention, of which a causal one needs half; with 8 tokens that is little."""
    words = word_tokenizer()
    model = load_policy(ModelConfig(init=SIZES), words, torch.device("cpu"))
    shape = shape_of(ModelConfig(init=SIZES), TokenizerConfig(train_vocab_size=len(words)))
    with FlopCounterMode(display=False) as forward:
        loss = model(input_ids=torch.ones(3, 8, dtype=torch.long)).logits.sum()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    batch = Batch(3, 8, read=8)
    expected = trunk_flops(shape, batch) + head_flops(shape, batch)
    assert expected == pytest.approx(forward.get_total_flops(), rel=0.05)
    assert 2 * expected == pytest.approx(backward.get_total_flops(), rel=0.05)


def test_decoding_reads_weights_and_cache_for_each_token() -> None:
    """Operations for nothing: 3 new tokens after 5, of which the first comes with the prompt."""
    weights = 2 * SHAPE.block_parameters + 512 * 64
    cache = 2 * 2 * 32 * 7 * (6 + 7)
    seconds = decoding_seconds(SHAPE, 7, 5, 3, 4, Rates(flops=math.inf, bandwidth=1.0))
    assert seconds == 4 * (2 * weights + cache)


def test_an_optimizer_step_moves_seven_numbers_a_weight() -> None:
    config = SFTConfig(model=ModelConfig(init=SIZES), tokenizer=TOKENIZER)
    assert step_floors(config, 1000, ONE_EACH)["optimizer"] == 28_000


def ppo(**changes: object) -> PPOConfig:
    models = {"model": ModelConfig(init=SIZES), "reward_model": ModelConfig(init=SIZES)}
    data, optimizer = DataConfig(max_prompt_tokens=32), OptimizerConfig()
    return PPOConfig(**(models | {"tokenizer": TOKENIZER, "data": data, "optimizer": optimizer} | changes))  # type: ignore[arg-type]


def test_epochs_and_checkpointing_and_layouts_count() -> None:
    plain = step_floors(ppo(), 1, ONE_EACH)
    assert step_floors(ppo(ppo_epochs=8), 1, ONE_EACH)["forward"] == 2 * plain["forward"]
    shared = step_floors(ppo(layout="shared_trunk"), 1, ONE_EACH)
    trunk = 4 * trunk_flops(SHAPE, Batch(512, 85))
    assert plain["forward"] - shared["forward"] == pytest.approx(trunk)
    recomputing = ModelConfig(init=SIZES, gradient_checkpointing=True)
    assert step_floors(ppo(model=recomputing), 1, ONE_EACH)["backward"] - plain["backward"] == pytest.approx(trunk)
    assert step_floors(ppo(layout="adapters"), 1, ONE_EACH)["backward"] < plain["backward"]
