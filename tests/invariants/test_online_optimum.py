"""58: PPO and RLOO, through their own updates, end at the closed-form optimum pi* ~ pi_ref exp(r / beta)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from enumerable import (
    EOS,
    all_responses,
    exact_kl,
    expected_reward,
    optimal_logprobs,
    sequence_logprobs,
    set_scores,
    tabular_policy,
    tabular_scalar_model,
    total_variation,
)
from rlhf_engine.config import GRPOConfig, OptimizerConfig, PPOConfig, RLOOConfig
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState, critic_free_update
from rlhf_engine.data.examples import Prompt
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOModels, PPOState, ppo_update
from small_ppo import HOOKS, frozen_copy

VOCABULARY, LENGTH, BETA = 3, 2, 0.5
EPISODES, UPDATES = 512, 120
REWARDS = torch.tensor([1.0, -0.5, 0.3, 0.8, -1.0, 0.0, 0.5])
ONLINE: dict[str, Any] = {
    "total_episodes": EPISODES * UPDATES, "batch_size": EPISODES, "micro_batch_size": EPISODES,
    "rollout_batch_size": EPISODES, "response_tokens": LENGTH, "temperature": 1.0, "kl_coef": BETA,
    "missing_eos": "subtract", "missing_eos_value": 0.0, "optimizer": OptimizerConfig(lr=0.05, schedule="linear"),
}  # fmt: skip


def optimizer_of(model: torch.nn.Module, steps: int) -> ScheduledAdamW:
    return ScheduledAdamW(model.named_parameters(), OptimizerConfig(lr=0.05, schedule="linear"), steps)


def trained_by_ppo(policy: Any, reward_model: Any) -> None:
    config = PPOConfig(**ONLINE, ppo_epochs=2)
    value_model = tabular_scalar_model(VOCABULARY, LENGTH)
    state = PPOState(
        PPOModels(policy, frozen_copy(policy), value_model, reward_model),
        optimizer_of(policy, 2 * UPDATES),
        optimizer_of(value_model, 2 * UPDATES),
        FixedKL(BETA),
        eos_id=EOS,
        pad_id=VOCABULARY,
    )
    for _ in range(UPDATES):
        ppo_update(state, [Prompt("", "", [0])] * EPISODES, config, HOOKS)


def trained_critic_free(policy: Any, reward_model: Any, config: RLOOConfig | GRPOConfig) -> None:
    models = CriticFreeModels(policy, frozen_copy(policy), reward_model)
    optimizer = optimizer_of(policy, UPDATES)
    state = CriticFreeState(models, optimizer, FixedKL(BETA), eos_id=EOS, pad_id=VOCABULARY)
    for _ in range(UPDATES):
        critic_free_update(state, [Prompt("", "", [0])] * (EPISODES // 4), config, HOOKS)


def trained_by_rloo(policy: Any, reward_model: Any) -> None:
    trained_critic_free(policy, reward_model, RLOOConfig(**ONLINE))


def trained_by_dr_grpo(policy: Any, reward_model: Any) -> None:
    """Without standard deviations, length means or k3, GRPO has the optimum of the others."""
    config = GRPOConfig(**ONLINE, kl_placement="reward", divide_by_std=False, loss_mean="tokens")
    trained_critic_free(policy, reward_model, config)


@pytest.mark.parametrize("train", [trained_by_ppo, trained_by_rloo, trained_by_dr_grpo])
def test_58_training_ends_at_the_optimum(train: Callable[[Any, Any], None]) -> None:
    torch.manual_seed(0)
    policy, responses = tabular_policy(VOCABULARY, LENGTH, spread=0.5), all_responses(VOCABULARY, LENGTH)
    reward_model = tabular_scalar_model(VOCABULARY, LENGTH)
    set_scores(reward_model, responses, REWARDS)
    reference = sequence_logprobs(policy, responses).detach()
    train(policy, frozen_copy(reward_model))
    found = sequence_logprobs(policy, responses).detach()
    optimum = optimal_logprobs(reference, REWARDS, BETA)
    assert total_variation(reference, optimum) > 0.3
    assert total_variation(found, optimum) < 0.02
    assert_close(expected_reward(found, REWARDS), expected_reward(optimum, REWARDS))
    assert_close(exact_kl(found, reference), exact_kl(optimum, reference))


def assert_close(a: Tensor, b: Tensor) -> None:
    assert abs(float(a - b)) < 0.02, (float(a), float(b))
