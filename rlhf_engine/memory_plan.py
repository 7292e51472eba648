"""How much memory a run will need, by arithmetic: torch-free, before anything is loaded. Formulas: docs/memory.md."""

from __future__ import annotations

from rlhf_engine.activations import forward_bytes
from rlhf_engine.adapter_sizes import adapter_parameters
from rlhf_engine.config import (
    CriticFreeConfig,
    DistilConfig,
    LoraConfig,
    ModelConfig,
    PreferenceConfig,
    PretrainConfig,
    RMConfig,
    SFTConfig,
    TokenizerConfig,
)
from rlhf_engine.known_models import ModelShape, shape_of
from rlhf_engine.layout_plan import online_rows
from rlhf_engine.memory_rows import (
    Batch,
    MemoryRow,
    TrainedRole,
    chunk_bytes,
    compute_bytes,
    compute_copies,
    framework,
    moments,
    sampling_rows,
    update_rows,
    weights,
    with_peak,
)

SAMPLING_ROWS = 128
"""Rows sampled at once where a reward model's comparisons or normalisation need samples of the SFT policy."""
RESPONSES_IN_GROUP = 4
"""Assumed K of a comparison group where the data decides it."""


def _policy(shape: ModelShape, config: ModelConfig, lora: LoraConfig | None = None) -> TrainedRole:
    added = adapter_parameters(shape, lora) if lora else 0
    return TrainedRole(
        name="policy",
        shape=shape,
        parameters=shape.policy_parameters + added,
        trained=added or shape.policy_parameters,
        gradient_checkpointing=config.gradient_checkpointing,
        lora=lora,
    )


def plan_pretrain(config: PretrainConfig) -> list[MemoryRow]:
    """Rows of a pre-training run. Raises ConfigError where the model's sizes can't be known."""
    return _plan_language_model(config, Batch(config.micro_batch_size, config.sequence_tokens), None)


def plan_sft(config: SFTConfig) -> list[MemoryRow]:
    """Rows of a supervised fine-tuning run. Raises ConfigError where the model's sizes can't be known."""
    tokens = config.data.max_prompt_tokens + config.data.max_response_tokens
    return _plan_language_model(config, Batch(config.micro_batch_size, tokens), config.lora)


def _plan_language_model(config: PretrainConfig | SFTConfig, batch: Batch, lora: LoraConfig | None) -> list[MemoryRow]:
    policy = _policy(shape_of(config.model, config.tokenizer), config.model, lora)
    return with_peak(
        [
            framework(),
            weights("policy", policy.parameters),
            moments(policy),
            *update_rows(config, [policy], batch),
        ]
    )


def plan_rm(config: RMConfig) -> list[MemoryRow]:
    """Rows of a reward-model run. Raises ConfigError where the model's sizes can't be known."""
    shape = shape_of(config.model, config.tokenizer)
    in_world = config.data.source == ["world"]
    tokens = config.data.max_prompt_tokens + _responses_in_row(config) * config.data.max_response_tokens
    added = adapter_parameters(shape, config.lora) if config.lora else 0
    reward_model = TrainedRole(
        name="reward_model",
        shape=shape,
        parameters=shape.scalar_parameters + added,
        trained=added + shape.hidden if config.lora else shape.scalar_parameters,
        gradient_checkpointing=config.model.gradient_checkpointing,
        lora=config.lora,
    )
    rows = [
        framework(),
        weights("reward_model", reward_model.parameters),
        moments(reward_model),
        *update_rows(config, [reward_model], Batch(config.micro_batch_size, tokens), logits=False),
    ]
    if in_world or config.score_norm == "affine_on_sft_samples":
        data = config.data if in_world else config.norm_data
        batch = Batch(SAMPLING_ROWS, data.max_prompt_tokens + data.max_response_tokens)
        rows += [
            weights("policy", shape.policy_parameters, "sample"),
            *sampling_rows(shape, batch, 4, "sample"),
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
    policy = _policy(shape, config.model)
    return with_peak(
        [
            framework(),
            weights("policy", policy.parameters),
            moments(policy),
            weights("ref_policy", shape.policy_parameters),
            *sampling_rows(shape, sampled, number, "sample"),
            *update_rows(config, [policy], Batch(config.micro_batch_size, tokens)),
            compute_copies("ref_policy", shape.policy_parameters, number, "update"),
        ]
    )


def plan_distil(config: DistilConfig) -> list[MemoryRow]:
    """Rows of a distillation run. Raises ConfigError where the models' sizes can't be known."""
    teacher = shape_of(config.teacher, config.tokenizer, key="teacher")
    student = _policy(shape_of(config.model, TokenizerConfig(train_vocab_size=teacher.vocabulary)), config.model)
    number = compute_bytes(config)
    tokens = config.data.max_prompt_tokens + config.response_tokens
    sampled = Batch(min(config.rollout_batch_size, config.batch_size), tokens)
    read = Batch(min(config.micro_batch_size, config.batch_size), tokens)
    return with_peak(
        [
            framework(),
            weights("student", student.parameters),
            weights("teacher", teacher.policy_parameters),
            moments(student),
            *sampling_rows(teacher, sampled, number, "rollout"),
            *update_rows(config, [student], read),
            MemoryRow("activations: teacher", "update", forward_bytes(teacher, read.rows, read.tokens, number)),
            compute_copies("teacher", teacher.policy_parameters, number, "update"),
            MemoryRow("logits of the teacher: one chunk", "update", chunk_bytes(teacher, number, backward=True)),
        ]
    )


def plan_critic_free(config: CriticFreeConfig) -> list[MemoryRow]:
    """Rows of an RLOO or GRPO run. Raises ConfigError where the models' sizes can't be known."""
    shape = shape_of(config.model, config.tokenizer)
    scalar = shape_of(config.reward_model, config.tokenizer, key="reward_model")
    policy = _policy(shape, config.model)
    held = [
        weights("policy", policy.parameters),
        weights("ref_policy", shape.policy_parameters),
        weights("reward_model", scalar.scalar_parameters),
    ]
    return with_peak(online_rows(config, held, [policy], scalar))
