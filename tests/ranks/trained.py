"""Small models in float64, trained for some steps by so many ranks: every metric, and the weights at the end."""

from __future__ import annotations

from typing import Any

import msgspec
import torch
from torch import nn

from engine_models import random_rollout
from rlhf_engine.config import DPOConfig, GRPOConfig, OptimizerConfig, PPOConfig
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState, critic_free_update
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOModels, PPOState, ppo_update
from rlhf_engine.preference_training import PreferenceState, preference_update
from rlhf_engine.ranks import Ranks
from rlhf_engine.reward_modeling import RewardModelState, reward_model_update
from rlhf_engine.sft import SFTState, sft_update
from small_ppo import EOS, PAD, frozen_copy, new_policy, new_scalar_model

HOOKS = NoHooks()
OPTIMIZER = OptimizerConfig(lr=3e-3, schedule="linear", max_grad_norm=0.5)
PROMPTS = [Prompt(str(i), "", [3 + (5 * i + j) % 30 for j in range(1 + i % 6)]) for i in range(32)]
PPO = PPOConfig(
    total_episodes=64, batch_size=16, minibatches=2, ppo_epochs=2, micro_batch_size=3, rollout_batch_size=5,
    response_tokens=6, temperature=0.7, kl_coef=0.1, whiten_rewards=True, optimizer=OPTIMIZER,
)  # fmt: skip
GRPO = GRPOConfig(
    total_episodes=64, batch_size=16, samples_per_prompt=2, minibatches=2, ppo_epochs=2, micro_batch_size=3,
    response_tokens=6, temperature=0.7, kl_coef=0.1, optimizer=OPTIMIZER,
)  # fmt: skip
Trained = tuple[list[dict[str, float]], dict[str, Any]]


def groups(count: int) -> list[ComparisonGroup]:
    """Of two or three responses of unequal lengths, one to three pairs."""
    found = []
    for i in range(count):
        responses = [[3 + (7 * i + 3 * k + j) % 30 for j in range(1 + (i + k) % 5)] + [EOS] for k in range(2 + i % 2)]
        pairs = [(0, 1)] if i % 2 == 0 else [(0, 1), (2, 1), (0, 2)]
        found.append(ComparisonGroup(PROMPTS[i % 32], [""] * len(responses), responses, pairs))
    return found


def weights_of(*models: nn.Module) -> dict[str, Any]:
    return {f"{i}.{name}": p.detach().numpy() for i, model in enumerate(models) for name, p in model.named_parameters()}


def optimizer_of(model: nn.Module, ranks: Ranks, steps: int) -> ScheduledAdamW:
    return ScheduledAdamW(model.named_parameters(), OPTIMIZER, steps, ranks)


def train_sft(ranks: Ranks, dtype: torch.dtype, steps: int = 20) -> Trained:
    policy = new_policy().to(dtype)
    state = SFTState(policy, optimizer_of(policy, ranks, steps), ranks=ranks)
    metrics = [
        sft_update(state, random_rollout(8, seed=step), micro_batch_size=3, compute="float32", hooks=HOOKS)
        for step in range(steps)
    ]
    return [vars(found) for found in metrics], weights_of(policy)


def train_rm(ranks: Ranks, dtype: torch.dtype, steps: int = 20) -> Trained:
    model = new_scalar_model().to(dtype)
    state = RewardModelState(model, optimizer_of(model, ranks, steps), ranks=ranks)
    batches = groups(8 * steps)
    metrics = [
        reward_model_update(state, batches[8 * step : 8 * step + 8], micro_batch_size=3, compute="float32", hooks=HOOKS)
        for step in range(steps)
    ]
    return [vars(found) for found in metrics], weights_of(model)


def train_dpo(ranks: Ranks, dtype: torch.dtype, steps: int = 20) -> Trained:
    policy = new_policy().to(dtype)
    state = PreferenceState(policy, frozen_copy(policy), optimizer_of(policy, ranks, steps), ranks=ranks)
    config, batches = DPOConfig(optimizer=OPTIMIZER, micro_batch_size=3), groups(8 * steps)
    metrics = [preference_update(state, batches[8 * step : 8 * step + 8], config, HOOKS) for step in range(steps)]
    return [vars(found) for found in metrics], weights_of(policy)


def train_ppo(ranks: Ranks, dtype: torch.dtype, updates: int = 5) -> Trained:
    """Each update has four optimizer steps."""
    policy, value_model = new_policy().to(dtype), new_scalar_model().to(dtype)
    models = PPOModels(policy, frozen_copy(policy), value_model, frozen_copy(value_model))
    policy_optimizer, value_optimizer = (optimizer_of(model, ranks, 4 * updates) for model in (policy, value_model))
    kl = FixedKL(PPO.kl_coef)
    state = PPOState(models, policy_optimizer, value_optimizer, kl, eos_id=EOS, pad_id=PAD, ranks=ranks)
    metrics = []
    for update in range(updates):
        start = 16 * update % 32
        metrics.append(ppo_update(state, PROMPTS[start : start + 16], PPO, HOOKS)[1].values)
    return metrics, weights_of(policy, value_model)


def train_grpo(ranks: Ranks, dtype: torch.dtype, updates: int = 5) -> Trained:
    policy = new_policy().to(dtype)
    models = CriticFreeModels(policy, frozen_copy(policy), frozen_copy(new_scalar_model().to(dtype)))
    optimizer = optimizer_of(policy, ranks, 4 * updates)
    state = CriticFreeState(models, optimizer, FixedKL(GRPO.kl_coef), eos_id=EOS, pad_id=PAD, ranks=ranks)
    config = msgspec.structs.replace(GRPO, kl_placement="reward")
    metrics = []
    for update in range(updates):
        start = 8 * update % 32
        metrics.append(critic_free_update(state, PROMPTS[start : start + 8], config, HOOKS)[1].values)
    return metrics, weights_of(policy)


TRAINED = {"sft": train_sft, "rm": train_rm, "dpo": train_dpo, "ppo": train_ppo, "grpo": train_grpo}


def train(ranks: Ranks, what: str, dtype: torch.dtype = torch.float64) -> Trained:
    return TRAINED[what](ranks, dtype)
