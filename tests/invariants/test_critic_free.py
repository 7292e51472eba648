"""57, and of 1, 2, 4 and 41 what belongs to RLOO and GRPO: relative advantages, and the update that they go into."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from rlhf_engine import critic_free
from rlhf_engine.advantages import group_relative_advantages, leave_one_out_advantages
from rlhf_engine.critic_free import CriticFreeState
from rlhf_engine.experience import Experience
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.update_metrics import UpdateStatistics
from small_critic_free import CONFIGS, GRPO, NAMES, RLOO, Config, new_state
from small_ppo import HOOKS, PROMPTS, assert_close_gradients, gradients_of


def collected(state: CriticFreeState, config: Config) -> Experience:
    return critic_free.collect_experience(state, PROMPTS[:4], config, HOOKS)


@pytest.mark.parametrize("k", [2, 3, 8])
def test_57_leave_one_out_advantages_of_a_prompt_add_up_to_0(k: int) -> None:
    rewards = 5 * torch.randn(6 * k) + 3
    advantages = leave_one_out_advantages(rewards, k).view(6, k)
    assert float(advantages.sum(dim=1).abs().max()) <= 1e-5
    centred = rewards.view(6, k) - rewards.view(6, k).mean(dim=1, keepdim=True)
    assert torch.allclose(advantages, k / (k - 1) * centred, rtol=0.0, atol=1e-5)


def test_57_two_responses_have_opposite_advantages() -> None:
    first, second = leave_one_out_advantages(torch.tensor([3.0, 1.0]), 2).tolist()
    assert (first, second) == (2.0, -2.0)


def test_57_a_response_is_not_its_own_baseline() -> None:
    """A unit more of reward is a unit more of advantage: the baseline stays where it was."""
    rewards = torch.randn(4)
    raised = rewards + torch.tensor([0.0, 1.0, 0.0, 0.0])
    change = leave_one_out_advantages(raised, 4) - leave_one_out_advantages(rewards, 4)
    assert torch.allclose(change, torch.tensor([-1 / 3, 1.0, -1 / 3, -1 / 3]), atol=1e-6)


def test_57_prompts_do_not_mix() -> None:
    rewards = torch.randn(8)
    together = leave_one_out_advantages(rewards, 4)
    assert torch.equal(together, torch.cat([leave_one_out_advantages(part, 4) for part in rewards.split(4)]))


def test_group_relative_advantages_are_standardised_and_shrink_to_leave_one_out() -> None:
    rewards = 5 * torch.randn(8) + 3
    groups = group_relative_advantages(rewards, 4, divide_by_std=True).view(2, 4)
    assert float(groups.mean(dim=1).abs().max()) < 1e-6
    assert torch.allclose(groups.std(dim=1, correction=0), torch.ones(2), atol=1e-3)
    plain = group_relative_advantages(rewards, 4, divide_by_std=False)
    assert torch.allclose(plain, 0.75 * leave_one_out_advantages(rewards, 4), atol=1e-5)


def test_equal_rewards_give_no_advantage() -> None:
    equal = torch.full((4,), 0.1)
    for advantages in (
        leave_one_out_advantages(equal, 4),
        group_relative_advantages(equal, 4, divide_by_std=True),
        group_relative_advantages(equal + torch.tensor([1e-8, 0.0, 0.0, 0.0]), 4, divide_by_std=True),
    ):
        assert float(advantages.abs().max()) < 1e-3


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_57_in_experience_a_response_has_one_advantage_and_a_prompt_none(config: Config) -> None:
    experience = collected(new_state(config, moved=0.05), config)
    mask = experience.response_mask
    assert len(experience) == 16
    assert len(experience.rollout.response_lengths.unique()) > 2
    first = experience.advantages[:, 0]
    assert bool(first.any())
    assert torch.equal(experience.advantages, torch.where(mask, first.unsqueeze(-1), 0.0))
    assert float(first.view(4, 4).sum(dim=1).abs().max()) < 1e-5
    prompts = experience.rollout.prompt_tokens.view(4, 4, -1)
    assert bool((prompts == prompts[:, :1]).all())


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_kl_is_in_the_reward_or_in_the_loss_and_never_in_both(config: Config) -> None:
    state = new_state(config, moved=0.05)
    experience = collected(state, config)
    assert float(experience.sequence_kl.abs().max()) > 0.1
    in_reward = 0.3 if config.kl_placement == "reward" else 0.0
    expected = experience.scores - in_reward * experience.sequence_kl
    assert torch.allclose(experience.rewards.sum(dim=1), expected, atol=1e-5)
    loss, terms = loss_and_terms(state, experience, config)
    in_loss = 0.3 * terms["kl"] if config.kl_placement == "loss" else 0.0
    assert math.isclose(float(loss), terms["policy"] + in_loss, rel_tol=1e-5)
    assert ("kl" in terms) == (config.kl_placement == "loss")


def loss_and_terms(state: CriticFreeState, experience: Experience, config: Config) -> tuple[Tensor, dict[str, float]]:
    statistics = UpdateStatistics()
    loss = critic_free.critic_free_loss(state, experience, experience, config, statistics)
    return loss.detach(), {name: float(parts[0]) for name, parts in statistics.losses.items()}


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_01_02_before_the_first_step_kl_is_0_and_the_ratio_1(config: Config) -> None:
    _, metrics = critic_free.critic_free_update(new_state(config), PROMPTS[:4], config, HOOKS)
    assert metrics.values["kl/token_max_nats"] == 0.0
    assert metrics.values["policy/ratio_max_deviation"] <= 1e-5
    assert not any(name.startswith("value/") for name in metrics.values)


@pytest.mark.parametrize(("config", "mean"), [(RLOO, "tokens"), (GRPO, "responses")])
def test_04_the_first_gradient_is_reinforce(config: Config, mean: str) -> None:
    """RLOO: the mean over all tokens. GRPO: the mean over responses of the means over their tokens."""
    state = new_state(config)
    experience = collected(state, config)
    loss = critic_free.critic_free_loss(state, experience, experience, config, UpdateStatistics())
    loss.backward()
    policy = state.models.policy
    ours = {name: None if grad is None else grad.clone() for name, grad in gradients_of(policy).items()}
    policy.zero_grad()
    logprobs = response_logprobs(policy, experience.rollout, temperature=0.7)
    lengths = experience.rollout.response_lengths.tolist()
    sums = [
        advantage * row[:length].sum()
        for row, advantage, length in zip(logprobs, experience.advantages[:, 0], lengths, strict=True)
    ]
    if mean == "tokens":
        expected = -torch.stack(sums).sum() / sum(lengths)
    else:
        expected = -torch.stack([part / length for part, length in zip(sums, lengths, strict=True)]).mean()
    expected.backward()
    assert_close_gradients(gradients_of(policy), ours, rtol=1e-4)


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_41_micro_batches_of_any_size_give_one_gradient(config: Config) -> None:
    """Of responses with unequal lengths, away from the reference, so that every term of the loss has a gradient."""
    gradients = []
    for size in (16, 3, 1):
        sized = msgspec.structs.replace(config, micro_batch_size=size)
        state = new_state(sized, moved=0.05)
        critic_free.critic_free_update(state, PROMPTS[:4], sized, HOOKS)
        watched: Any = state.policy_optimizer
        gradients.append(watched.gradients[0])
    assert_close_gradients(gradients[0], gradients[1], rtol=1e-4)
    assert_close_gradients(gradients[0], gradients[2], rtol=1e-4)
