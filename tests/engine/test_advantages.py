import math

import torch
from torch import Tensor

from rlhf_engine.advantages import generalized_advantages


def random_episodes() -> tuple[Tensor, Tensor, Tensor]:
    lengths = torch.tensor([4, 1, 6])
    mask = torch.arange(6) < lengths[:, None]
    generator = torch.Generator().manual_seed(1)
    rewards, values = (torch.randn(3, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    return rewards.masked_fill(~mask, math.nan), values.masked_fill(~mask, math.nan), mask


def test_equals_the_double_sum_definition() -> None:
    rewards, values, mask = random_episodes()
    gamma, lam = 0.9, 0.7
    advantages, returns = generalized_advantages(rewards, values, mask, gamma=gamma, gae_lambda=lam)
    for row in range(3):
        length = int(mask[row].sum())
        r, v = rewards[row, :length].tolist(), [*values[row, :length].tolist(), 0.0]
        for t in range(length):
            expected = sum((gamma * lam) ** k * (r[t + k] + gamma * v[t + k + 1] - v[t + k]) for k in range(length - t))
            assert math.isclose(float(advantages[row, t]), expected, abs_tol=1e-10)
            assert math.isclose(float(returns[row, t]), expected + v[t], abs_tol=1e-10)
    assert torch.equal(advantages[~mask], torch.zeros(int((~mask).sum()), dtype=torch.float64))


def test_lambda_1_is_return_minus_value_and_lambda_0_is_the_td_error() -> None:
    rewards, values, mask = random_episodes()
    full, _ = generalized_advantages(rewards, values, mask, gamma=1.0, gae_lambda=1.0)
    reward_to_go = rewards.masked_fill(~mask, 0.0).flip(1).cumsum(1).flip(1)
    assert torch.allclose(full[mask], (reward_to_go - values)[mask], atol=1e-12)
    td, _ = generalized_advantages(rewards, values, mask, gamma=1.0, gae_lambda=0.0)
    next_values = torch.nn.functional.pad(values.masked_fill(~mask, 0.0)[:, 1:], (0, 1))
    assert torch.allclose(td[mask], (rewards + next_values - values)[mask], atol=1e-12)


def test_perfect_critic_leaves_nothing_and_arguments_are_untouched() -> None:
    rewards, _, mask = random_episodes()
    rewards = rewards.masked_fill(~mask, 0.0)
    values = rewards.flip(1).cumsum(1).flip(1)
    before = rewards.clone(), values.clone()
    advantages, _ = generalized_advantages(rewards, values, mask, gamma=1.0, gae_lambda=0.95)
    assert torch.allclose(advantages, torch.zeros_like(advantages), atol=1e-12)
    assert torch.equal(rewards, before[0])
    assert torch.equal(values, before[1])


def test_linear_in_rewards_and_values_and_blind_to_what_follows_the_end() -> None:
    rewards, values, mask = random_episodes()
    once, _ = generalized_advantages(rewards, values, mask, gamma=0.9, gae_lambda=0.8)
    thrice, _ = generalized_advantages(3 * rewards, 3 * values, mask, gamma=0.9, gae_lambda=0.8)
    assert torch.allclose(3 * once, thrice, atol=1e-12)
    poisoned = values.masked_fill(~mask, 1e9)
    assert torch.equal(once, generalized_advantages(rewards, poisoned, mask, gamma=0.9, gae_lambda=0.8)[0])
