"""How much memory a run will need, by arithmetic: torch-free, before anything is loaded. Formulas: docs/memory.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rlhf_engine.activations import backward_buffer_bytes, forward_bytes, saved_bytes
from rlhf_engine.config import (
    CriticFreeConfig,
    ModelConfig,
    OnlineConfig,
    PPOConfig,
    PreferenceConfig,
    PretrainConfig,
    RMConfig,
    SFTConfig,
    TrainerConfig,
)
from rlhf_engine.known_models import ModelShape, shape_of

FLOAT32, BFLOAT16 = 4, 2
ADAM_MOMENTS = 2 * FLOAT32
FRAMEWORK_BYTES = 512 * 2**20
"""CUDA context and library workspaces; on a CPU, about what torch and transformers occupy."""
LOGIT_CHUNK_BYTES = 32 * 2**20
"""Largest fp32 logits that exist at once; a test holds it equal to `logprobs.CHUNK_BYTES`."""
ALWAYS = "always"
SAMPLING_ROWS = 128
"""Rows sampled at once where a reward model's comparisons or normalisation need samples of the SFT policy."""
RESPONSES_IN_GROUP = 4
"""Assumed K of a comparison group where the data decides it."""


class MemoryRow(NamedTuple):
    """`bytes` that `what` needs in `phase`; rows of phase "always" stay through all phases."""

    what: str
    phase: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of so many tokens that pass through a model at once."""

    rows: int
    tokens: int


def compute_bytes(config: TrainerConfig) -> int:
    """Bytes of one number in matrix products."""
    return BFLOAT16 if config.precision.compute == "bfloat16" else FLOAT32


def with_peak(rows: Sequence[MemoryRow]) -> list[MemoryRow]:
    """The rows and the peak: what stays, and the phase that needs most on top of it."""
    phases: dict[str, int] = {}
    for row in rows:
        phases[row.phase] = phases.get(row.phase, 0) + row.bytes
    always = phases.pop(ALWAYS, 0)
    highest = max(phases, key=phases.__getitem__)
    return [row for row in rows if row.bytes] + [MemoryRow("peak", highest, always + phases[highest])]


def plan_pretrain(config: PretrainConfig) -> list[MemoryRow]:
    """Rows of a pre-training run. Raises ConfigError where the model's sizes can't be known."""
    return _plan_language_model(config, Batch(config.micro_batch_size, config.sequence_tokens))


def plan_sft(config: SFTConfig) -> list[MemoryRow]:
    """Rows of a supervised fine-tuning run. Raises ConfigError where the model's sizes can't be known."""
    tokens = config.data.max_prompt_tokens + config.data.max_response_tokens
    return _plan_language_model(config, Batch(config.micro_batch_size, tokens))


def _plan_language_model(config: PretrainConfig | SFTConfig, batch: Batch) -> list[MemoryRow]:
    shape = shape_of(config.model, config.tokenizer)
    return with_peak(
        [
            MemoryRow("framework", ALWAYS, FRAMEWORK_BYTES),
            *_trained("policy", shape.policy_parameters),
            *_update(config, [_Trained("policy", shape, config.model, shape.policy_parameters)], batch),
            _logits(shape, compute_bytes(config), "update", backward=True),
        ]
    )


def plan_rm(config: RMConfig) -> list[MemoryRow]:
    """Rows of a reward-model run. Raises ConfigError where the model's sizes can't be known."""
    shape = shape_of(config.model, config.tokenizer)
    in_world = config.data.source == ["world"]
    tokens = config.data.max_prompt_tokens + _responses_in_row(config) * config.data.max_response_tokens
    rows = [
        MemoryRow("framework", ALWAYS, FRAMEWORK_BYTES),
        *_trained("reward_model", shape.scalar_parameters),
        *_update(
            config,
            [_Trained("reward_model", shape, config.model, shape.scalar_parameters)],
            Batch(config.micro_batch_size, tokens),
        ),
    ]
    if in_world or config.score_norm == "affine_on_sft_samples":
        data = config.data if in_world else config.norm_data
        batch = Batch(SAMPLING_ROWS, data.max_prompt_tokens + data.max_response_tokens)
        rows += [
            MemoryRow("weights: policy", "sample", FLOAT32 * shape.policy_parameters),
            *_sampling(shape, batch, FLOAT32, "sample"),
        ]
    return with_peak(rows)


def _responses_in_row(config: RMConfig | PreferenceConfig) -> int:
    """K of a comparison row: the prompt once, and so many responses behind it."""
    world = config.world
    if config.data.source == ["world"]:
        return world.samples_per_post + world.careful + max(world.edited + world.sloppy, 1)
    return RESPONSES_IN_GROUP if config.group_by_prompt else 2


def plan_preferences(config: PreferenceConfig) -> list[MemoryRow]:
    """Rows of a DPO, IPO or KTO run. Raises ConfigError where the model's sizes can't be known."""
    shape = shape_of(config.model, config.tokenizer)
    number = compute_bytes(config)
    tokens = config.data.max_prompt_tokens + _responses_in_row(config) * config.data.max_response_tokens
    data = config.eval_data if config.eval_data.source else config.data
    sampled = Batch(SAMPLING_ROWS, data.max_prompt_tokens + data.max_response_tokens)
    policy = _Trained("policy", shape, config.model, shape.policy_parameters)
    return with_peak(
        [
            MemoryRow("framework", ALWAYS, FRAMEWORK_BYTES),
            *_trained("policy", shape.policy_parameters),
            MemoryRow("weights: ref_policy", ALWAYS, FLOAT32 * shape.policy_parameters),
            *_sampling(shape, sampled, number, "sample"),
            *_update(config, [policy], Batch(config.micro_batch_size, tokens)),
            _compute_copies("ref_policy", shape.policy_parameters, number, "update"),
            _logits(shape, number, "update", backward=True),
        ]
    )


def plan_ppo(config: PPOConfig) -> list[MemoryRow]:
    """Rows of a PPO run. Raises ConfigError where the models' sizes can't be known."""
    scalar = shape_of(config.reward_model, config.tokenizer, key="reward_model")
    return _plan_online(config, _Trained("value_model", scalar, config.reward_model, scalar.scalar_parameters))


def plan_critic_free(config: CriticFreeConfig) -> list[MemoryRow]:
    """Rows of an RLOO or GRPO run. Raises ConfigError where the models' sizes can't be known."""
    return _plan_online(config, None)


def _plan_online(config: OnlineConfig, critic: _Trained | None) -> list[MemoryRow]:
    policy = shape_of(config.model, config.tokenizer)
    scalar = shape_of(config.reward_model, config.tokenizer, key="reward_model")
    number = compute_bytes(config)
    tokens = config.data.max_prompt_tokens + config.response_tokens
    micro_batch = Batch(min(config.micro_batch_size, config.batch_size // config.minibatches), tokens)
    scored = Batch(min(config.micro_batch_size, config.batch_size), tokens)
    largest = max(policy, scalar, key=lambda shape: shape.trunk_parameters)
    trained = [_Trained("policy", policy, config.model, policy.policy_parameters), *([critic] if critic else [])]
    return with_peak(
        [
            MemoryRow("framework", ALWAYS, FRAMEWORK_BYTES),
            *(row for model in trained for row in _trained(model.role, model.parameters)),
            MemoryRow("weights: ref_policy", ALWAYS, FLOAT32 * policy.policy_parameters),
            MemoryRow("weights: reward_model", ALWAYS, FLOAT32 * scalar.scalar_parameters),
            MemoryRow("experience", ALWAYS, config.batch_size * (18 * tokens + 32 * config.response_tokens)),
            _compute_copies("policy", policy.policy_parameters, number, "rollout"),
            *_sampling(policy, Batch(min(config.rollout_batch_size, config.batch_size), tokens), number, "rollout"),
            _compute_copies("largest model", largest.policy_parameters, number, "score"),
            MemoryRow("activations: forward", "score", forward_bytes(largest, scored.rows, scored.tokens, number)),
            _logits(policy, number, "score", backward=False),
            *_update(config, trained, micro_batch),
            _logits(policy, number, "update", backward=True),
        ]
    )


@dataclass(frozen=True, slots=True)
class _Trained:
    role: str
    shape: ModelShape
    config: ModelConfig
    parameters: int


def _trained(role: str, parameters: int) -> list[MemoryRow]:
    return [
        MemoryRow(f"weights: {role}", ALWAYS, FLOAT32 * parameters),
        MemoryRow(f"Adam moments: {role}", ALWAYS, ADAM_MOMENTS * parameters),
    ]


def _update(config: TrainerConfig, models: Sequence[_Trained], batch: Batch) -> list[MemoryRow]:
    """Gradients, bf16 copies and activations of the models whose losses go backwards together."""
    number = compute_bytes(config)
    rows = []
    for model in models:
        saved = saved_bytes(
            model.shape,
            batch.rows,
            batch.tokens,
            number,
            gradient_checkpointing=model.config.gradient_checkpointing,
        )
        rows += [
            MemoryRow(f"gradients: {model.role}", "update", FLOAT32 * model.parameters),
            _compute_copies(model.role, model.parameters, number, "update"),
            MemoryRow(f"activations: {model.role}", "update", saved),
        ]
    buffers = [backward_buffer_bytes(model.shape, batch.rows, batch.tokens, number) for model in models]
    return [*rows, MemoryRow("backward buffers", "update", max(buffers))]


def _compute_copies(role: str, parameters: int, number: int, phase: str) -> MemoryRow:
    """Autocast keeps a bf16 copy of each fp32 weight while a forward and its backward last."""
    return MemoryRow(f"bf16 copies: {role}", phase, BFLOAT16 * parameters if number == BFLOAT16 else 0)


def _sampling(shape: ModelShape, batch: Batch, number: int, phase: str) -> list[MemoryRow]:
    """Key-value cache, one block's activations while the prompts are read, and the next-token distribution."""
    cache = 2 * number * shape.layers * shape.kv_width * batch.rows * batch.tokens
    distribution = batch.rows * shape.vocabulary * (number + 3 * FLOAT32)
    return [
        MemoryRow("KV cache", phase, cache + 2 * cache // shape.layers),
        MemoryRow("activations: forward", phase, forward_bytes(shape, batch.rows, batch.tokens, number)),
        MemoryRow("next-token distribution", phase, distribution),
    ]


def _logits(shape: ModelShape, number: int, phase: str, *, backward: bool) -> MemoryRow:
    """One chunk of logits and its scratch; backward, also the output head's gradient on its way."""
    head = shape.vocabulary * shape.hidden
    copies = BFLOAT16 * head if number == BFLOAT16 else 0
    gradient = (2 * FLOAT32 + (number if number == BFLOAT16 else 0)) * head if backward else 0
    return MemoryRow("logits: one chunk", phase, 3 * LOGIT_CHUNK_BYTES + copies + gradient)


PLANS: dict[str, Callable[..., list[MemoryRow]]] = {
    "pretrain": plan_pretrain,
    "sft": plan_sft,
    "rm": plan_rm,
    "ppo": plan_ppo,
    "dpo": plan_preferences,
    "ipo": plan_preferences,
    "kto": plan_preferences,
}
"""By plugin name."""
