"""Generalised advantages against the definition, its two ends, and what they may depend on."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlhf_engine import advantages, losses, masking, preference_losses, rewards
from small_ppo import config_with, new_experience, new_state

LENGTHS = torch.tensor([4, 1, 6])
MASK = torch.arange(6) < LENGTHS[:, None]


def random_episodes(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Rewards and values, fp64 [3, 6], NaN outside MASK."""
    generator = torch.Generator().manual_seed(seed)
    drawn = (torch.randn(3, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    given_rewards, values = (tensor.masked_fill(~MASK, math.nan) for tensor in drawn)
    return given_rewards, values


def estimate(given_rewards: Tensor, values: Tensor, gamma: float = 0.9, gae_lambda: float = 0.7) -> Tensor:
    return advantages.generalized_advantages(given_rewards, values, MASK, gamma=gamma, gae_lambda=gae_lambda)[0]


def reward_to_go(given_rewards: Tensor) -> Tensor:
    return given_rewards.masked_fill(~MASK, 0.0).flip(1).cumsum(1).flip(1)


def valid_pairs() -> Tensor:
    """[3, 6, 3, 6] where an advantage at the first two indices may depend on a reward at the last two."""
    same_row = torch.eye(3, dtype=torch.bool)[:, None, :, None]
    not_earlier = torch.ones(6, 6, dtype=torch.bool).triu()[None, :, None, :]
    return same_row & not_earlier & MASK[:, :, None, None] & MASK[None, None]


def test_18_advantages_depend_on_no_earlier_reward_and_no_other_row() -> None:
    given_rewards, values = random_episodes()
    by_reward = torch.autograd.functional.jacobian(lambda r: estimate(r, values), given_rewards)
    by_value = torch.autograd.functional.jacobian(lambda v: estimate(given_rewards, v), values)
    for jacobian in (by_reward, by_value):
        assert torch.equal(jacobian != 0.0, valid_pairs())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_22_gae_is_the_double_sum(seed: int, gamma: float, gae_lambda: float) -> None:
    """A_t = sum over k of (gamma lambda)^k (r_t+k + gamma V_t+k+1 - V_t+k), with V = 0 after the last action."""
    given_rewards, values = random_episodes(seed)
    ours = estimate(given_rewards, values, gamma, gae_lambda)
    for row, length in enumerate(LENGTHS.tolist()):
        r, v = given_rewards[row, :length].tolist(), [*values[row, :length].tolist(), 0.0]
        errors = [r[t] + gamma * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            expected = sum((gamma * gae_lambda) ** k * errors[t + k] for k in range(length - t))
            assert abs(float(ours[row, t]) - expected) <= 1e-10
    assert bool((ours[~MASK] == 0.0).all())


def test_23_lambda_1_is_return_minus_value_and_lambda_0_the_td_error() -> None:
    given_rewards, values = random_episodes()
    ends = estimate(given_rewards, values, 1.0, 1.0), estimate(given_rewards, values, 0.9, 0.0)
    following = torch.nn.functional.pad(values.masked_fill(~MASK, 0.0)[:, 1:], (0, 1))
    assert float((ends[0] - reward_to_go(given_rewards) + values)[MASK].abs().max()) <= 1e-14
    assert float((ends[1] - given_rewards - 0.9 * following + values)[MASK].abs().max()) <= 1e-14


def test_24_returns_are_raw_advantages_plus_values() -> None:
    given_rewards, values = random_episodes()
    ours, returns = advantages.generalized_advantages(given_rewards, values, MASK, gamma=0.9, gae_lambda=0.7)
    assert torch.equal(returns[MASK], (ours + values)[MASK])
    assert bool((returns[~MASK] == 0.0).all())


def test_24_a_perfect_critic_leaves_no_advantage() -> None:
    given_rewards = random_episodes()[0].mul(8).round()
    assert torch.equal(estimate(given_rewards, reward_to_go(given_rewards), 1.0, 0.95), torch.zeros(3, 6).double())


@pytest.mark.parametrize("whiten_advantages", [False, True])
def test_24_returns_in_experience_are_taken_before_whitening(whiten_advantages: bool) -> None:
    experience = new_experience(new_state(), config_with(whiten_advantages=whiten_advantages))
    mask = experience.response_mask
    raw = (experience.returns - experience.values)[mask]
    expected = (raw - raw.mean()) / raw.std(correction=0) if whiten_advantages else raw
    assert torch.allclose(experience.advantages[mask], expected, rtol=0.0, atol=1e-5)


def test_24_whitening_changes_no_return() -> None:
    plain, whitened = (new_experience(new_state(), config_with(whiten_advantages=on)) for on in (False, True))
    assert torch.equal(plain.returns, whitened.returns)
    assert not torch.equal(plain.advantages, whitened.advantages)


def test_24_a_critic_that_knows_the_return_learns_nothing() -> None:
    returns = reward_to_go(random_episodes()[0]).float()
    values = returns.clone().requires_grad_()
    loss = losses.clipped_value_loss(values, returns, returns, MASK, value_clip_range=0.2)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert values.grad is not None
    assert not bool(values.grad.any())


X, Y, Z, W = (torch.randn(3, 6, generator=torch.Generator().manual_seed(seed)) for seed in range(4))
COUNT = torch.tensor(5)
PURE: dict[str, Callable[[], Tensor | tuple[Tensor, ...]]] = {
    "generalized advantages": lambda: advantages.generalized_advantages(X, Y, MASK, gamma=0.9, gae_lambda=0.7),
    "leave one out": lambda: advantages.leave_one_out_advantages(X[:, 0].repeat(2), 2),
    "group relative": lambda: advantages.group_relative_advantages(X[:, 0].repeat(2), 2, divide_by_std=True),
    "policy loss": lambda: losses.clipped_policy_loss(X, Y, Z, MASK, clip_range=0.2, token_count=COUNT),
    "value loss": lambda: losses.clipped_value_loss(X, Y, Z, MASK, value_clip_range=0.2, token_count=COUNT),
    "next-token loss": lambda: losses.next_token_loss(X, MASK, COUNT),
    "KL loss": lambda: losses.reference_kl_loss(X, Y, MASK, token_count=COUNT),
    "pairwise loss": lambda: losses.pairwise_loss(X[0], Y[0]),
    "missing EOS": lambda: rewards.apply_missing_eos_rule(X[0], MASK[0], rule="replace", value=-1.0),
    "rewards": lambda: rewards.kl_penalized_rewards(W[:, 0], X, Y, MASK, 0.1),
    "k1": lambda: rewards.token_kl(X, Y, MASK),
    "k3": lambda: rewards.k3_token_kl(X, Y, MASK),
    "whiten": lambda: masking.whiten(X, MASK),
    "whiten keeping mean": lambda: masking.whiten_keeping_mean(X, MASK),
    "variance": lambda: masking.masked_var(X, MASK),
    "first match": lambda: masking.mask_through_first(MASK),
    "log-ratios": lambda: preference_losses.sequence_logratios(X, Y, MASK, reduction="mean"),
    "DPO loss": lambda: preference_losses.dpo_loss(X[0], Y[0], beta=0.1),
    "KTO reference point": lambda: preference_losses.kto_reference_point(X[0]),
}


def as_tuple(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", PURE)
def test_25_functions_leave_their_arguments_alone(name: str) -> None:
    arguments = (X, Y, Z, W, MASK, COUNT)
    before = [argument.clone() for argument in arguments]
    first, second = as_tuple(PURE[name]()), as_tuple(PURE[name]())
    assert all(torch.equal(argument, old) for argument, old in zip(arguments, before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    owned = {argument.untyped_storage().data_ptr() for argument in arguments}
    assert not owned & {result.untyped_storage().data_ptr() for result in first}


@pytest.mark.parametrize("factor", [-2.0, 0.1, 3.0])
def test_26_advantages_are_linear_in_rewards_and_values(factor: float) -> None:
    given_rewards, values = random_episodes()
    scaled = estimate(factor * given_rewards, factor * values)
    assert float((scaled - factor * estimate(given_rewards, values)).abs().max()) <= 1e-12
