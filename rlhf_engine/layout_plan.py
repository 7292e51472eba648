"""How much memory online training needs, PPO in each of its layouts, by arithmetic. Torch-free; layouts: layouts.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlhf_engine.activations import Batch
from rlhf_engine.adapter_sizes import adapter_parameters
from rlhf_engine.config import CriticFreeConfig, LoraConfig, OnlineConfig, PPOConfig
from rlhf_engine.known_models import ModelShape, shape_of
from rlhf_engine.memory_rows import (
    ALWAYS,
    MemoryRow,
    TrainedRole,
    compute_bytes,
    forward_rows,
    framework,
    merged_weights,
    moments,
    sampling_rows,
    weights,
    with_peak,
)
from rlhf_engine.probe_plan import probe_rows, second_model_shape
from rlhf_engine.update_rows import Update, update_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The weights that stay, the roles that are trained, the policy first, and the critic's shape, if there is one."""

    held: Sequence[MemoryRow]
    trained: Sequence[TrainedRole]
    reward_model: ModelShape
    critic: ModelShape | None = None
    reward_adapter: LoraConfig | None = None
    samples_per_prompt: int = 1


def plan_ppo(
    config: PPOConfig,
    *,
    scalar: ModelShape | None = None,
    reward_adapter: LoraConfig | None = None,
    second: ModelShape | None = None,
) -> list[MemoryRow]:
    """Rows of a PPO run in `config.layout`. `scalar`: the reward model's shape, if a stage has yet to make it;
    `reward_adapter`: it is one on the policy's backbone; `second`: the shape of the probe's reward model, likewise.

    Weights are what a role adds to those above it: of policy and value head on one trunk, the trunk is the policy's;
    of adapters on one backbone, the backbone is the reference's.
    Raises ConfigError where the models' sizes can't be known.
    """
    shape = shape_of(config.model, config.tokenizer)
    scalar = scalar or shape_of(config.reward_model, config.tokenizer, key="reward_model")
    policy = TrainedRole(
        name="policy",
        shape=shape,
        trained=shape.policy_parameters,
        gradient_checkpointing=config.model.gradient_checkpointing,
    )
    if config.layout == "separate":
        roles = _separate(policy, scalar, checkpointing=config.reward_model.gradient_checkpointing)
    elif config.layout == "shared_trunk":
        roles = _shared_trunk(policy, scalar)
    else:
        roles = _adapters(config, policy, scalar, reward_adapter)
    return with_peak(online_rows(config, roles, second or second_model_shape(config)))


def plan_critic_free(
    config: CriticFreeConfig, *, scalar: ModelShape | None = None, second: ModelShape | None = None
) -> list[MemoryRow]:
    """Rows of an RLOO or GRPO run. Raises ConfigError where the models' sizes can't be known."""
    shape = shape_of(config.model, config.tokenizer)
    scalar = scalar or shape_of(config.reward_model, config.tokenizer, key="reward_model")
    policy = TrainedRole(
        name="policy",
        shape=shape,
        trained=shape.policy_parameters,
        gradient_checkpointing=config.model.gradient_checkpointing,
    )
    held = [
        weights("policy", shape.policy_parameters),
        weights("ref_policy", shape.policy_parameters),
        weights("reward_model", scalar.scalar_parameters),
    ]
    roles = Roles(held=held, trained=[policy], reward_model=scalar, samples_per_prompt=config.samples_per_prompt)
    return with_peak(online_rows(config, roles, second or second_model_shape(config)))


def _separate(policy: TrainedRole, scalar: ModelShape, *, checkpointing: bool) -> Roles:
    critic = TrainedRole(
        name="value_model",
        shape=scalar,
        trained=scalar.scalar_parameters,
        gradient_checkpointing=checkpointing,
        logit_chunks=0,
        values=True,
    )
    held = [
        weights("policy", policy.shape.policy_parameters),
        weights("ref_policy", policy.shape.policy_parameters),
        weights("value_model", scalar.scalar_parameters),
        weights("reward_model", scalar.scalar_parameters),
    ]
    return Roles(held=held, trained=[policy, critic], reward_model=scalar, critic=scalar)


def _shared_trunk(policy: TrainedRole, scalar: ModelShape) -> Roles:
    with_head = policy.shape.policy_parameters + policy.shape.score_parameters
    both = replace(policy, trained=with_head, values=True)
    held = [
        weights("policy", with_head),
        weights("ref_policy", policy.shape.policy_parameters),
        weights("reward_model", scalar.scalar_parameters),
    ]
    return Roles(held=held, trained=[both], reward_model=scalar, critic=policy.shape)


def _adapters(config: PPOConfig, policy: TrainedRole, scalar: ModelShape, reward_adapter: LoraConfig | None) -> Roles:
    lora = config.lora or LoraConfig()
    added = adapter_parameters(policy.shape, lora)
    of_critic = reward_adapter or lora
    adapter_and_head = adapter_parameters(scalar, of_critic) + scalar.score_parameters
    critic = TrainedRole(
        name="value_model",
        shape=scalar,
        trained=adapter_and_head,
        gradient_checkpointing=config.reward_model.gradient_checkpointing,
        lora=of_critic,
        logit_chunks=0,
        values=True,
    )
    held = [
        weights("policy", added),
        weights("ref_policy", policy.shape.policy_parameters),
        weights("value_model", adapter_and_head),
        weights("reward_model", adapter_and_head if reward_adapter else scalar.scalar_parameters),
    ]
    trained = [replace(policy, trained=added, lora=lora), critic]
    return Roles(held=held, trained=trained, reward_model=scalar, critic=scalar, reward_adapter=reward_adapter)


def online_rows(config: OnlineConfig, roles: Roles, second: ModelShape | None = None) -> list[MemoryRow]:
    """Rows of an online run, by the names of its phases; `second`: the shape of the probe's own reward model."""
    policy, number = roles.trained[0], compute_bytes(config.precision)
    tokens, responses = config.data.max_prompt_tokens + config.response_tokens, config.response_tokens
    minibatch = config.batch_size // config.minibatches
    scored = Batch(min(config.micro_batch_size, config.batch_size), tokens, responses)
    sampled = Batch(min(config.rollout_batch_size, config.batch_size), tokens, responses)
    micro_batch = Batch(min(config.micro_batch_size, minibatch), tokens, responses)
    return [
        framework(),
        *roles.held,
        *(moments(role) for role in roles.trained),
        MemoryRow("experience", ALWAYS, config.batch_size * (18 * tokens + 56 * responses)),
        *sampling_rows(policy.shape, sampled, number, "rollout", samples_per_prompt=roles.samples_per_prompt),
        *forward_rows(policy.shape, scored, number, "policy logprobs", role="policy", lora=policy.lora, entropies=True),
        *forward_rows(policy.shape, scored, number, "reference logprobs", entropies=True),
        *_value_rows(roles, scored, number),
        *forward_rows(roles.reward_model, Batch(scored.rows, tokens), number, "scores", lora=roles.reward_adapter),
        *update_rows(Update(roles.trained, micro_batch, number, accumulated=minibatch > config.micro_batch_size)),
        *probe_rows(config, policy, roles.reward_model, second, roles.reward_adapter),
        *merged_weights(policy),
    ]


def _value_rows(roles: Roles, scored: Batch, number: int) -> list[MemoryRow]:
    if roles.critic is None:
        return []
    critic, batch = roles.trained[-1], Batch(scored.rows, scored.tokens)
    return forward_rows(roles.critic, batch, number, "values", role=critic.name, lora=critic.lora)
