"""How PPO's four roles are laid out in memory: separate models, policy and critic on one trunk, or adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_engine.adapters import FOLDER, adapted_backbone, add_adapter, attach_adapter, backbone_hash, shared_copy
from rlhf_engine.config import LoraConfig, ModelConfig, OnlineConfig, PPOConfig
from rlhf_engine.data.tokenizers import check_same_tokens
from rlhf_engine.errors import ConfigError
from rlhf_engine.hooks import Hooks
from rlhf_engine.logprobs import logprobs_of_states
from rlhf_engine.models import backbone_of, load_policy, set_gradient_checkpointing
from rlhf_engine.ppo import PPOModels
from rlhf_engine.rollout import Rollout
from rlhf_engine.rollout_states import states_before_actions
from rlhf_engine.scalar_models import ScalarModel, load_scalar_model, values_of_states

Layout = Callable[[PPOConfig, PreTrainedTokenizerBase, torch.device, Hooks], PPOModels]
Frozen = TypeVar("Frozen", bound=nn.Module)
CPU = torch.device("cpu")


def load_ppo_models(
    config: PPOConfig, tokenizer: PreTrainedTokenizerBase, device: torch.device, hooks: Hooks
) -> PPOModels:
    """Policy and reference from the SFT policy, critic and reward model from the reward model, in `config.layout`.

    Raises ConfigError where models can't be combined.
    """
    if config.lora is not None and config.layout != "adapters":
        raise ConfigError(f'lora: layout = "{config.layout}" has no adapters; set layout = "adapters"')
    if config.ref_model.path and config.layout == "adapters":
        raise ConfigError('ref_model: with layout = "adapters" the reference is the backbone; use another layout')
    check_same_tokens(tokenizer, config.reward_model.path, "reward_model.path")
    return LAYOUTS[config.layout](config, tokenizer, device, hooks)


def load_ref_policy(config: OnlineConfig, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> PreTrainedModel:
    """The frozen reference: `ref_model`, or else the policy as it is before training."""
    if not config.ref_model.path:
        return _frozen(load_policy(config.model, tokenizer, device))
    check_same_tokens(tokenizer, config.ref_model.path, "ref_model.path")
    return _frozen(load_policy(config.ref_model, tokenizer, device, key="ref_model"))


def separate_models(
    config: PPOConfig, tokenizer: PreTrainedTokenizerBase, device: torch.device, hooks: Hooks
) -> PPOModels:
    """Four full models, as in Huang et al. 2024."""
    return PPOModels(
        policy=load_policy(config.model, tokenizer, device),
        ref_policy=load_ref_policy(config, tokenizer, device),
        value_model=load_scalar_model(config.reward_model, tokenizer, device, key="reward_model"),
        reward_model=_frozen(load_scalar_model(config.reward_model, tokenizer, device, key="reward_model")),
    )


class SharedTrunkModels(PPOModels):
    """The critic's backbone is the policy's: one forward and one backward pass serve both losses."""

    def logprobs_and_values(self, rollout: Rollout, *, temperature: float) -> tuple[Tensor, Tensor]:
        states = states_before_actions(self.policy, rollout)
        logprobs = logprobs_of_states(self.policy, states, rollout, temperature=temperature)
        return logprobs, values_of_states(self.value_model, states, rollout)


def shared_trunk_models(
    config: PPOConfig, tokenizer: PreTrainedTokenizerBase, device: torch.device, hooks: Hooks
) -> PPOModels:
    """Policy and critic on one trunk: another algorithm, since the value loss trains the policy's trunk.

    The critic's head is new and 0: V = 0 at first, where a critic of its own starts from the reward model.
    """
    policy = load_policy(config.model, tokenizer, device)
    value_model = load_scalar_model(config.model, tokenizer, CPU, head_init="zero")
    _put_on(value_model, backbone_of(policy), device)
    return SharedTrunkModels(
        policy=policy,
        ref_policy=load_ref_policy(config, tokenizer, device),
        value_model=value_model,
        reward_model=_frozen(load_scalar_model(config.reward_model, tokenizer, device, key="reward_model")),
    )


def adapter_models(
    config: PPOConfig, tokenizer: PreTrainedTokenizerBase, device: torch.device, hooks: Hooks
) -> PPOModels:
    """One frozen backbone, which is the reference; policy, critic and reward model are adapters and heads on it.

    A reward model that is no adapter of that backbone keeps its own, frozen; the critic is then an adapter on it.
    """
    lora = config.lora or LoraConfig()
    ref_policy = _frozen(load_policy(_without_checkpointing(config.model), tokenizer, device))
    policy = shared_copy(ref_policy, ref_policy).train()
    add_adapter(policy, lora)
    set_gradient_checkpointing(policy, config.model.gradient_checkpointing)
    reward_model = load_scalar_model(_without_checkpointing(config.reward_model), tokenizer, CPU, key="reward_model")
    adapter = Path(config.reward_model.path) / FOLDER
    if adapter.is_dir() and adapted_backbone(reward_model) == backbone_hash(ref_policy):
        _check_attention(config)
        _put_on(reward_model, shared_copy(backbone_of(ref_policy), backbone_of(ref_policy)), device)
        attach_adapter(reward_model, adapter)
        value_model = shared_copy(reward_model, backbone_of(ref_policy))
    else:
        hooks.note("layout: the reward model is no adapter of the policy's backbone, and keeps its own")
        value_model = shared_copy(reward_model.to(device), backbone_of(reward_model))
        add_adapter(value_model, lora)
    set_gradient_checkpointing(value_model.network, config.reward_model.gradient_checkpointing)
    return PPOModels(policy, ref_policy, value_model.train(), _frozen(reward_model))


LAYOUTS: dict[str, Layout] = {
    "separate": separate_models,
    "shared_trunk": shared_trunk_models,
    "adapters": adapter_models,
}


def own_parameters(value_model: ScalarModel, policy: PreTrainedModel) -> dict[str, nn.Parameter]:
    """By name, what is trained of the critic and is not the policy's as well."""
    shared = {id(parameter) for parameter in policy.parameters()}
    return {
        name: parameter
        for name, parameter in value_model.named_parameters()
        if parameter.requires_grad and id(parameter) not in shared
    }


def _put_on(scalar_model: ScalarModel, backbone: nn.Module, device: torch.device) -> None:
    """Replaces the backbone, in place; head and normalisation stay."""
    network = scalar_model.network
    setattr(network, network.base_model_prefix, backbone)
    scalar_model.to(device)


def _frozen(model: Frozen) -> Frozen:
    return model.eval().requires_grad_(False)


def _without_checkpointing(config: ModelConfig) -> ModelConfig:
    """Of a model that is frozen, and copied: the hooks of gradient checkpointing can't be."""
    return msgspec.structs.replace(config, gradient_checkpointing=False)


def _check_attention(config: PPOConfig) -> None:
    if config.reward_model.attention != config.model.attention:
        raise ConfigError(
            f"reward_model.attention: {config.reward_model.attention!r}, but the backbone that it shares has "
            f"model.attention = {config.model.attention!r}; make them alike"
        )
