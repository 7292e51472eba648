"""The memory plan against what autograd really keeps, and against hand arithmetic."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoConfig, AutoModelForCausalLM

from rlhf_engine import logprobs
from rlhf_engine.activations import Batch, mask_bytes, recomputed_bytes, saved_bytes
from rlhf_engine.comparison_plan import plan_rm
from rlhf_engine.config import (
    DataConfig,
    InitConfig,
    ModelConfig,
    PPOConfig,
    PrecisionConfig,
    RMConfig,
    SFTConfig,
    TokenizerConfig,
    WorldComparisonConfig,
)
from rlhf_engine.decoding import decoder
from rlhf_engine.known_models import ModelShape, shape_of
from rlhf_engine.layout_plan import plan_ppo
from rlhf_engine.memory_plan import plan_sft
from rlhf_engine.memory_rows import (
    ALWAYS,
    FRAMEWORK_BYTES,
    LOGIT_CHUNK_BYTES,
    PROMPT_TOKENS_AT_ONCE,
    MemoryRow,
    chunk_bytes,
    with_peak,
)
from rlhf_engine.packing import Rows
from rlhf_engine.trunk import states_at

ROWS, TOKENS, READ = 3, 40, 11
SIZES: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 176, "max_position_embeddings": 64, "vocab_size": 101,
    },
    "gpt_neox": {
        "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 176,
        "max_position_embeddings": 64, "vocab_size": 101, "bos_token_id": None, "eos_token_id": None,
    },
    "gpt2": {
        "n_embd": 64, "n_layer": 3, "n_head": 4, "n_inner": 176, "n_positions": 64, "vocab_size": 101,
        "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "bos_token_id": None, "eos_token_id": None,
    },
}  # fmt: skip


def bytes_saved_by_autograd(model: Any, *, bf16: bool) -> int:
    """Distinct storages that a forward keeps for the backward pass, weights and their bf16 copies left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    weight_shapes = {tuple(sorted(parameter.shape)) for parameter in model.parameters() if parameter.ndim == 2}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        is_copy = tensor.dtype == torch.bfloat16 and tuple(sorted(tensor.shape)) in weight_shapes
        if tensor.untyped_storage().data_ptr() not in weights and not is_copy:
            kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    ids, mask = torch.zeros(ROWS, TOKENS, dtype=torch.long), torch.ones(ROWS, TOKENS, dtype=torch.bool)
    places = torch.arange(ROWS * TOKENS).view(ROWS, TOKENS)[:, -READ:].flatten()
    with saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        states_at(model, Rows.of_sequences(ids, mask), places)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("family", SIZES)
def test_activations_are_what_autograd_keeps(family: str, bf16: bool, tmp_path: Path) -> None:
    config = AutoConfig.for_model(family, **SIZES[family])
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    shape = shape_of(ModelConfig(path=str(tmp_path)), TokenizerConfig())
    model = AutoModelForCausalLM.from_config(config).float().train()
    planned = saved_bytes(shape, Batch(ROWS, TOKENS, READ), 2 if bf16 else 4, gradient_checkpointing=False)
    assert planned == pytest.approx(bytes_saved_by_autograd(model, bf16=bf16), rel=0.02)


@pytest.mark.parametrize("family", SIZES)
def test_checkpointing_keeps_block_inputs_and_one_block(family: str, tmp_path: Path) -> None:
    config = AutoConfig.for_model(family, **SIZES[family])
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    shape = shape_of(ModelConfig(path=str(tmp_path)), TokenizerConfig())
    model = AutoModelForCausalLM.from_config(config).float().train()
    whole = bytes_saved_by_autograd(model, bf16=False)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    between = bytes_saved_by_autograd(model, bf16=False)
    batch = Batch(ROWS, TOKENS, READ)
    planned = saved_bytes(shape, batch, 4, gradient_checkpointing=True)
    assert between < planned + recomputed_bytes(shape, batch, 4) < whole
    # The recomputation, not autograd, holds rotary tables, masks and what is read.
    rotary_tables = ROWS * (TOKENS + READ) * 4 * 2 * shape.head_size
    assert planned == pytest.approx(between, abs=rotary_tables + mask_bytes(batch, 4) + 8 * ROWS * READ)


def test_the_plan_knows_the_size_of_a_chunk_of_logits() -> None:
    assert LOGIT_CHUNK_BYTES == logprobs.CHUNK_BYTES


TINY = InitConfig(hidden_size=64, layers=2, heads=4, intermediate_size=128)
TOKENIZER = TokenizerConfig(train_vocab_size=512)


def small_ppo(compute: Literal["float32", "bfloat16"] = "float32", **changes: Any) -> PPOConfig:
    models = {"model": ModelConfig(init=TINY), "reward_model": ModelConfig(init=TINY)}
    settings = {"batch_size": 32, "micro_batch_size": 8, "rollout_batch_size": 32} | models | changes
    return PPOConfig(tokenizer=TOKENIZER, precision=PrecisionConfig(compute=compute), **settings)


def by_name(rows: list[MemoryRow]) -> dict[tuple[str, str], int]:
    return {(row.what, row.phase): row.bytes for row in rows}


def test_weights_moments_and_gradients_by_hand() -> None:
    block = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64
    policy = 512 * 64 + 2 * block + 64
    scalar = policy + 64
    rows = by_name(plan_ppo(small_ppo()))
    assert rows["weights: policy", ALWAYS] == rows["weights: ref_policy", ALWAYS] == 4 * policy
    assert rows["weights: reward_model", ALWAYS] == 4 * scalar
    assert rows["Adam moments: policy", ALWAYS] == 8 * policy
    assert rows["gradients: value_model", "backward"] == rows["gradients: value_model", "optimizer"] == 4 * scalar


def test_kv_cache_by_hand() -> None:
    """Allocated once for prompts and responses; beside it the weights once more, but for the embedding."""
    rows = by_name(plan_ppo(small_ppo(data=DataConfig(max_prompt_tokens=8), response_tokens=120)))
    block = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64
    assert rows["KV cache", "rollout"] == 2 * 2 * 4 * 64 * 32 * 128
    assert rows["weights laid out for decoding", "rollout"] == 4 * (2 * block + 512 * 64)
    assert rows["activations: passing", "rollout"] == 32 * 8 * (4 * 3 * 64 + 4 * 4 * 128)


def test_the_plan_knows_how_many_tokens_of_prompts_are_read_at_once() -> None:
    assert decoder.PROMPT_TOKENS_AT_ONCE["cuda"] == PROMPT_TOKENS_AT_ONCE


def test_bf16_copies_only_under_bf16() -> None:
    block = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64
    assert not [row for row in plan_ppo(small_ppo()) if row.what.startswith("bf16")]
    assert by_name(plan_ppo(small_ppo("bfloat16")))["bf16 copies: policy", "forward"] == 2 * 2 * block


def test_the_peak_is_what_stays_and_the_highest_phase() -> None:
    rows = [MemoryRow("a", ALWAYS, 5), MemoryRow("b", "x", 3), MemoryRow("c", "y", 2), MemoryRow("d", "y", 2)]
    assert with_peak(rows)[-1] == MemoryRow("peak", "y", 9)


@pytest.mark.parametrize("change", ["micro_batch_size", "response_tokens"])
def test_more_asked_for_is_more_memory(change: str) -> None:
    small = small_ppo()
    larger = msgspec.structs.replace(small, **{change: 2 * getattr(small, change)})
    assert plan_ppo(larger)[-1].bytes > plan_ppo(small)[-1].bytes


def test_logits_do_not_grow_with_the_batch_or_the_prompt() -> None:
    shape = replace(shape_of(ModelConfig(init=TINY), TOKENIZER), vocabulary=128256)
    short, long = Batch(8, 100, 53), Batch(32, 2048, 530)
    assert chunk_bytes(shape, long, 4, copies=1) == chunk_bytes(shape, short, 4, copies=1) <= LOGIT_CHUNK_BYTES


def kept_by_a_reward_model(shape: ModelShape, rows: int, tokens: int, responses: int) -> int:
    """Activations, and the states at the last tokens."""
    batch = Batch(rows, tokens, responses, branches=10 * responses)
    return saved_bytes(shape, batch, 4, gradient_checkpointing=False) + 4 * 64 * rows * responses


def test_a_reward_model_on_groups_reads_the_prompt_once() -> None:
    data = DataConfig(source=["x.jsonl"], max_prompt_tokens=100, max_response_tokens=10)
    config = RMConfig(
        model=ModelConfig(init=TINY), tokenizer=TOKENIZER, data=data, score_norm="none", group_by_prompt=True
    )
    rows = by_name(plan_rm(config))
    shape = shape_of(config.model, TOKENIZER)
    assert rows["activations: reward_model", "forward"] == kept_by_a_reward_model(shape, 8, 140, 4)
    assert not {"label comparisons", "normalise"} & {phase for _, phase in rows}


def test_a_world_group_has_samples_and_written_summaries() -> None:
    data = DataConfig(source=["world"], max_rows=10, max_prompt_tokens=100, max_response_tokens=10)
    world = WorldComparisonConfig(samples_per_post=2, careful=2, edited=2, sloppy=1)
    config = RMConfig(model=ModelConfig(init=TINY), tokenizer=TOKENIZER, data=data, world=world, micro_batch_size=3)
    shape = shape_of(config.model, TOKENIZER)
    rows = by_name(plan_rm(config))
    assert rows["activations: reward_model", "forward"] == kept_by_a_reward_model(shape, 3, 170, 7)


def test_sft_needs_less_than_ppo() -> None:
    sft = SFTConfig(model=ModelConfig(init=TINY), tokenizer=TOKENIZER, micro_batch_size=8)
    assert FRAMEWORK_BYTES < plan_sft(sft)[-1].bytes < plan_ppo(small_ppo())[-1].bytes
