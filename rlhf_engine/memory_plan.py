"""How much memory a run will need, by arithmetic: torch-free, before anything is loaded. Formulas: docs/memory.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlhf_engine.activations import Batch
from rlhf_engine.config import (
    DistilConfig,
    EvalConfig,
    LoraConfig,
    ModelConfig,
    PretrainConfig,
    SFTConfig,
    TokenizerConfig,
)
from rlhf_engine.errors import ConfigError
from rlhf_engine.known_models import ModelShape, shape_of
from rlhf_engine.memory_rows import (
    MemoryRow,
    TrainedRole,
    compute_bytes,
    forward_rows,
    framework,
    held,
    merged_weights,
    moments,
    sampling_rows,
    weights,
    with_peak,
)
from rlhf_engine.ranked_plan.models import language_model
from rlhf_engine.ranked_plan.places import of_one_rank, place_of
from rlhf_engine.ranked_plan.placing import ALONE, Place
from rlhf_engine.update_rows import FORWARD, Update, update_rows

CHUNKS_OF_DIVERGENCE = 5
"""Both models' log-probabilities of a chunk, their difference, and scratch."""


def plan_pretrain(config: PretrainConfig, ranks: int = 1) -> list[MemoryRow]:
    """Rows of a pre-training run, of one of its `ranks`. Raises ConfigError where the model's sizes can't be known."""
    config, role = of_one_rank(config, ranks), pretrained_role(config, ranks)
    tokens = config.sequence_tokens
    batch = Batch(min(config.micro_batch_size, config.batch_size), tokens, tokens - 1)
    return _plan_language_model(config, batch, role)


def plan_sft(config: SFTConfig, ranks: int = 1) -> list[MemoryRow]:
    """Rows of a supervised fine-tuning run, of one of its `ranks`.

    Raises ConfigError where the model's sizes can't be known.
    """
    config, role = of_one_rank(config, ranks), fine_tuned_role(config, ranks)
    responses = config.data.max_response_tokens
    rows = min(config.micro_batch_size, config.batch_size)
    batch = Batch(rows, config.data.max_prompt_tokens + responses, responses)
    return _plan_language_model(config, batch, role)


def pretrained_role(config: PretrainConfig, ranks: int = 1) -> TrainedRole:
    """What pre-training trains."""
    return _policy("policy", shape_of(config.model, config.tokenizer), config.model, place=place_of(config, ranks))


def fine_tuned_role(config: SFTConfig, ranks: int = 1) -> TrainedRole:
    """What supervised fine-tuning trains."""
    shape = shape_of(config.model, config.tokenizer)
    return _policy("policy", shape, config.model, config.lora, place_of(config, ranks))


def _plan_language_model(config: PretrainConfig | SFTConfig, batch: Batch, policy: TrainedRole) -> list[MemoryRow]:
    number, lora = compute_bytes(config.precision), policy.lora
    accumulated = config.batch_size > config.micro_batch_size
    rows = [
        framework(),
        held("policy", policy.placed),
        moments(policy),
        *update_rows(Update([policy], batch, number, accumulated)),
        *merged_weights(policy),
    ]
    if config.eval_data.source:
        gathers = policy.placed
        rows += forward_rows(policy.shape, batch, number, "held-out loss", role="policy", lora=lora, gathers=gathers)
    return with_peak(rows)


def _policy(
    name: str, shape: ModelShape, config: ModelConfig, lora: LoraConfig | None = None, place: Place = ALONE
) -> TrainedRole:
    return TrainedRole(
        name=name,
        shape=shape,
        placed=language_model(shape, place, trained=True, lora=lora),
        gradient_checkpointing=config.gradient_checkpointing,
        lora=lora,
    )


def plan_distil(config: DistilConfig) -> list[MemoryRow]:
    """Rows of a distillation run. Raises ConfigError where the models' sizes can't be known."""
    teacher = shape_of(config.teacher, config.tokenizer, key="teacher")
    shape = shape_of(config.model, TokenizerConfig(train_vocab_size=teacher.vocabulary))
    student, number = _policy("student", shape, config.model), compute_bytes(config.precision)
    if config.objective == "logits":
        student = replace(student, logit_chunks=CHUNKS_OF_DIVERGENCE)
    responses = config.response_tokens
    tokens = config.data.max_prompt_tokens + responses
    sampled = Batch(min(config.rollout_batch_size, config.batch_size), tokens, responses)
    read = Batch(min(config.micro_batch_size, config.batch_size), tokens, responses)
    before = forward_rows(teacher, Batch(read.rows, tokens), number, FORWARD) if config.objective == "logits" else []
    update = Update([student], read, number, config.batch_size > config.micro_batch_size, before=before)
    return with_peak(
        [
            framework(),
            weights("student", shape.policy_parameters),
            weights("teacher", teacher.policy_parameters),
            moments(student),
            *sampling_rows(teacher, sampled, number, "rollout"),
            *update_rows(update),
        ]
    )


def plan_eval(config: EvalConfig) -> list[MemoryRow]:
    """Rows of an evaluation: the baseline, one other policy at a time, and the reward model if there is one.

    Raises ConfigError where no policy is named, or a model's sizes can't be known.
    """
    config = config.with_named_policies()
    found = [
        shape_of(ModelConfig(path=path), config.tokenizer, key=f"policies.{name}")
        for name, path in config.policies.items()
    ]
    if not found and not config.reward_model:
        raise ConfigError("policies: none given; name at least one, the first is the baseline")
    scalar = shape_of(ModelConfig(path=config.reward_model), config.tokenizer) if config.reward_model else None
    return with_peak(evaluation_rows(config, found, scalar))


def _references(config: EvalConfig) -> Batch:
    """The longest references of any task, behind its longest prompts."""
    tasks = [task for task in (config.data, config.second_task) if task.source]
    response = max((task.max_response_tokens for task in tasks), default=0)
    prompt = max((task.max_prompt_tokens for task in tasks), default=0)
    return Batch(config.batch_size, prompt + response, response)


def evaluation_rows(config: EvalConfig, policies: Sequence[ModelShape], scalar: ModelShape | None) -> list[MemoryRow]:
    """Rows of an evaluation of models of these shapes, the baseline first."""
    number, data = compute_bytes(config.precision), config.data
    tokens = data.max_prompt_tokens + config.response_tokens
    batch = Batch(config.batch_size, tokens, config.response_tokens)
    rows = [framework(), *(weights("baseline", shape.policy_parameters) for shape in policies[:1])]
    if policies and config.what == "policies":
        others = [shape.policy_parameters for shape in policies[1:]]
        rows.append(weights("another policy", max(others, default=0)))
    for shape in policies[:1]:
        rows += sampling_rows(shape, batch, number, "sample")
        rows += forward_rows(shape, batch, number, "KL")
        if config.what == "policies":
            rows += forward_rows(shape, _references(config), number, "NLL of references")
    if scalar:
        rows.append(weights("reward_model", scalar.scalar_parameters))
        rows += forward_rows(scalar, Batch(batch.rows, tokens), number, "score")
    return rows
