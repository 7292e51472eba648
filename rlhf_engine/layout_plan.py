"""How much memory each of PPO's layouts needs, by arithmetic. Torch-free; what the layouts are: layouts.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlhf_engine.activations import forward_bytes
from rlhf_engine.adapter_sizes import adapter_parameters
from rlhf_engine.config import LoraConfig, OnlineConfig, PPOConfig
from rlhf_engine.known_models import ModelShape, shape_of
from rlhf_engine.memory_rows import (
    ALWAYS,
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

Held = tuple[list[MemoryRow], list[TrainedRole]]
"""Weights that stay, and the roles that are trained."""


def plan_ppo(config: PPOConfig, *, reward_adapter: LoraConfig | None = None) -> list[MemoryRow]:
    """Rows of a PPO run in `config.layout`; `reward_adapter`: the reward model is one on the policy's backbone.

    Weights are what a role adds to those above it: of policy and value head on one trunk, the trunk is the policy's;
    of adapters on one backbone, the backbone is the reference's.
    Raises ConfigError where the models' sizes can't be known.
    """
    shape = shape_of(config.model, config.tokenizer)
    scalar = shape_of(config.reward_model, config.tokenizer, key="reward_model")
    policy = TrainedRole(
        name="policy",
        shape=shape,
        parameters=shape.policy_parameters,
        trained=shape.policy_parameters,
        gradient_checkpointing=config.model.gradient_checkpointing,
    )
    if config.layout == "separate":
        rows, roles = _separate(policy, scalar, checkpointing=config.reward_model.gradient_checkpointing)
    elif config.layout == "shared_trunk":
        rows, roles = _shared_trunk(policy, scalar)
    else:
        rows, roles = _adapters(config, policy, scalar, reward_adapter)
    return with_peak(online_rows(config, rows, roles, scalar))


def _separate(policy: TrainedRole, scalar: ModelShape, *, checkpointing: bool) -> Held:
    critic = TrainedRole(
        name="value_model",
        shape=scalar,
        parameters=scalar.scalar_parameters,
        trained=scalar.scalar_parameters,
        gradient_checkpointing=checkpointing,
    )
    rows = [
        weights("policy", policy.parameters),
        weights("ref_policy", policy.parameters),
        weights("value_model", critic.parameters),
        weights("reward_model", scalar.scalar_parameters),
    ]
    return rows, [policy, critic]


def _shared_trunk(policy: TrainedRole, scalar: ModelShape) -> Held:
    with_head = policy.parameters + policy.shape.hidden
    both = replace(policy, parameters=with_head, trained=with_head)
    rows = [
        weights("policy", both.parameters),
        weights("ref_policy", policy.parameters),
        weights("reward_model", scalar.scalar_parameters),
    ]
    return rows, [both]


def _adapters(config: PPOConfig, policy: TrainedRole, scalar: ModelShape, reward_adapter: LoraConfig | None) -> Held:
    lora = config.lora or LoraConfig()
    added = adapter_parameters(policy.shape, lora)
    tuned = replace(policy, parameters=policy.parameters + added, trained=added, lora=lora)
    of_critic = reward_adapter or lora
    adapter_and_head = adapter_parameters(scalar, of_critic) + scalar.hidden
    critic = TrainedRole(
        name="value_model",
        shape=scalar,
        parameters=scalar.trunk_parameters + adapter_and_head,
        trained=adapter_and_head,
        gradient_checkpointing=config.reward_model.gradient_checkpointing,
        lora=of_critic,
    )
    rows = [
        weights("policy", added),
        weights("ref_policy", policy.parameters),
        weights("value_model", adapter_and_head),
        weights("reward_model", adapter_and_head if reward_adapter else scalar.scalar_parameters),
    ]
    return rows, [tuned, critic]


def online_rows(
    config: OnlineConfig, held: Sequence[MemoryRow], roles: Sequence[TrainedRole], scalar: ModelShape
) -> list[MemoryRow]:
    """Rows of an online run that keeps the weights `held` and trains `roles`, the policy first."""
    policy, number = roles[0], compute_bytes(config)
    tokens = config.data.max_prompt_tokens + config.response_tokens
    micro_batch = Batch(min(config.micro_batch_size, config.batch_size // config.minibatches), tokens)
    scored = Batch(min(config.micro_batch_size, config.batch_size), tokens)
    sampled = Batch(min(config.rollout_batch_size, config.batch_size), tokens)
    largest = max(policy.shape, scalar, key=lambda shape: shape.trunk_parameters)
    return [
        framework(),
        *held,
        *(moments(role) for role in roles),
        MemoryRow("experience", ALWAYS, config.batch_size * (18 * tokens + 32 * config.response_tokens)),
        compute_copies("policy", policy.parameters, number, "rollout"),
        *sampling_rows(policy.shape, sampled, number, "rollout"),
        compute_copies("largest model", largest.policy_parameters, number, "score"),
        MemoryRow("activations: forward", "score", forward_bytes(largest, scored.rows, scored.tokens, number)),
        MemoryRow("logits: one chunk", "score", chunk_bytes(policy.shape, number, backward=False)),
        *update_rows(config, roles, micro_batch),
    ]
