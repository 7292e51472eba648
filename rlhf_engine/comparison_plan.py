"""How much memory training on comparisons needs: reward models, DPO, IPO, KTO. Torch-free; formulas: docs/memory.md."""

from __future__ import annotations

from dataclasses import replace

from rlhf_engine.activations import FLOAT32, Batch
from rlhf_engine.config import DataConfig, KTOConfig, PairsConfig, PreferenceConfig, RMConfig
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
from rlhf_engine.ranked_plan.models import language_model, scalar_model
from rlhf_engine.ranked_plan.places import of_one_rank, place_of
from rlhf_engine.ranked_plan.placing import NOTHING, Placed
from rlhf_engine.update_rows import FORWARD, Update, update_rows

SAMPLING_ROWS = 128
"""Rows sampled at once where comparisons, their normalisation or their evaluation need samples of a policy."""
RESPONSES_IN_GROUP = 4
"""Assumed K of a comparison group where the data decides it."""
WORLD = "world"
SAMPLES, SCORES = "samples", "scores"


def reward_model_shape(config: RMConfig) -> ModelShape:
    """With the heads that the run gives it. Raises ConfigError where the model's sizes can't be known."""
    shape = shape_of(config.model, config.tokenizer)
    return replace(shape, score_heads=config.heads, mlp_heads=config.head == "mlp")


def plan_rm(config: RMConfig, ranks: int = 1) -> list[MemoryRow]:
    """Rows of a reward-model run, of one of its `ranks`. Raises ConfigError where the model's sizes can't be known."""
    reward_model, config = reward_model_role(config, ranks), of_one_rank(config, ranks)
    shape, number = reward_model.shape, compute_bytes(config.precision)
    update = Update([reward_model], _micro_batch(config), number, config.batch_size > config.micro_batch_size)
    return with_peak(
        [
            framework(),
            held("reward_model", reward_model.placed),
            moments(reward_model),
            *update_rows(update),
            *merged_weights(reward_model),
            *_labelling_rows(config, shape),
            *_normalising_rows(config, reward_model, number),
        ]
    )


def reward_model_role(config: RMConfig, ranks: int = 1) -> TrainedRole:
    """What a reward-model run trains."""
    shape = reward_model_shape(config)
    return TrainedRole(
        name="reward_model",
        shape=shape,
        placed=scalar_model(shape, place_of(config, ranks), trained=True, lora=config.lora),
        gradient_checkpointing=config.model.gradient_checkpointing,
        lora=config.lora,
        logit_chunks=0,
        values=True,
    )


def _labelling_rows(config: RMConfig, shape: ModelShape) -> list[MemoryRow]:
    """Samples of the SFT policy that the world's annotators compare."""
    if WORLD not in config.data.source or config.labels_of:
        return []
    phase = "label comparisons"
    return [weights("SFT policy", shape.policy_parameters, phase), *_samples(shape, config.data, FLOAT32, phase)]


def _normalising_rows(config: RMConfig, reward_model: TrainedRole, number: int) -> list[MemoryRow]:
    """Samples, or references, that the reward model scores."""
    shape = reward_model.shape
    if config.score_norm == "none":
        return []
    data, phase = config.norm_data, "normalise"
    if config.score_norm == "affine_on_sft_samples":
        return [weights("SFT policy", shape.policy_parameters, phase), *_samples(shape, data, FLOAT32, phase)]
    scored = Batch(config.micro_batch_size, data.max_prompt_tokens + data.max_response_tokens)
    gathers = reward_model.placed
    return forward_rows(shape, scored, number, phase, role="reward_model", lora=config.lora, gathers=gathers)


def preference_roles(config: PreferenceConfig, ranks: int = 1) -> tuple[TrainedRole, Placed]:
    """The policy and its reference."""
    shape = shape_of(config.model, config.tokenizer)
    policy = TrainedRole(
        name="policy",
        shape=shape,
        placed=language_model(shape, place_of(config, ranks), trained=True),
        gradient_checkpointing=config.model.gradient_checkpointing,
    )
    return policy, language_model(shape, place_of(config, ranks, "ref_model"))


def plan_preferences(config: PreferenceConfig, ranks: int = 1) -> list[MemoryRow]:
    """Rows of one of the `ranks` of DPO, IPO or KTO. Raises ConfigError where the model's sizes can't be known."""
    policy, ref_policy = preference_roles(config, ranks)
    config, shape, number = of_one_rank(config, ranks), policy.shape, compute_bytes(config.precision)
    batch = _micro_batch(config)
    reference = forward_rows(shape, batch, number, FORWARD, gathers=ref_policy)
    update = Update([policy], batch, number, config.batch_size > config.micro_batch_size, before=reference)
    rows = [
        framework(),
        held("policy", policy.placed),
        held("ref_policy", ref_policy),
        moments(policy),
        *update_rows(update),
    ]
    if isinstance(config, KTOConfig):
        rows += forward_rows(shape, batch, number, "reference point", role="policy", gathers=policy.placed)
    if config.eval_data.source and config.kl_samples:
        sampled = min(SAMPLING_ROWS, config.kl_samples)
        rows += _samples(shape, config.eval_data, number, "samples", at_most=sampled, gathers=policy.placed)
    if WORLD in (*config.data.source, *config.eval_data.source) and not config.labels_of:
        rows += _samples(shape, config.data, FLOAT32, "label comparisons")
    return with_peak(rows)


def plan_pairs(config: PairsConfig, *, scalar: ModelShape | None = None) -> list[MemoryRow]:
    """Rows of sampling pairs: one or two policies, then the reward model, if any.

    `scalar`: the reward model's shape, if a stage has yet to make it.

    Raises ConfigError where the models' sizes can't be known.
    """
    shape, number = shape_of(config.model, config.tokenizer), compute_bytes(config.precision)
    tokens = config.data.max_prompt_tokens + config.response_tokens
    sampled = Batch(min(config.batch_size, config.prompts), tokens, config.response_tokens)
    rows = [framework(), weights("policy", shape.policy_parameters, SAMPLES)]
    if config.against.path:
        rows.append(weights("against", shape_of(config.against, config.tokenizer).policy_parameters, SAMPLES))
    rows += sampling_rows(shape, sampled, number, SAMPLES)
    if config.reward_model.path or scalar:
        scalar = scalar or shape_of(config.reward_model, config.tokenizer, key="reward_model")
        scored = Batch(sampled.rows, tokens + config.response_tokens, 2, branches=2 * config.response_tokens)
        rows.append(weights("reward_model", scalar.scalar_parameters, SCORES))
        rows += forward_rows(scalar, scored, number, SCORES, role="reward_model")
    return with_peak(rows)


def comparison_batch(config: RMConfig | PreferenceConfig, rows: int) -> Batch:
    """Comparison groups: the prompt once, and K responses behind it, whose tokens a policy's loss reads."""
    responses, data = _responses_in_row(config), config.data
    tokens = responses * data.max_response_tokens
    read = responses if isinstance(config, RMConfig) else tokens
    return Batch(rows, data.max_prompt_tokens + tokens, read, branches=tokens)


def _micro_batch(config: RMConfig | PreferenceConfig) -> Batch:
    return comparison_batch(config, min(config.micro_batch_size, config.batch_size))


def _responses_in_row(config: RMConfig | PreferenceConfig) -> int:
    world = config.world
    if WORLD in config.data.source:
        return world.samples_per_post + world.careful + max(world.edited + world.sloppy, 1)
    return RESPONSES_IN_GROUP if config.group_by_prompt else 2


def _samples(
    shape: ModelShape,
    data: DataConfig,
    number: int,
    phase: str,
    *,
    at_most: int = SAMPLING_ROWS,
    gathers: Placed = NOTHING,
) -> list[MemoryRow]:
    tokens = data.max_prompt_tokens + data.max_response_tokens
    batch = Batch(at_most, tokens, data.max_response_tokens)
    return sampling_rows(shape, batch, number, phase, gathers=gathers)
