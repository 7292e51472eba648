"""Advantages: generalised, with a critic; relative to the other responses to a prompt, without."""

from __future__ import annotations

import torch
from torch import Tensor

STD_FLOOR = 1e-4
"""Added to a group's standard deviation, so that rounding among equal rewards is not magnified."""


def generalized_advantages(
    rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns, both [B, R], 0 outside `response_mask` (Schulman et al. 2016, equation 16).

    `rewards[:, t]` belongs to action t and `values[:, t]` to the state before it. The episode ends with the last valid
    action, EOS or not: nothing is bootstrapped from the state after it. Returns are advantages + values, before any
    whitening.
    """
    rewards = rewards.masked_fill(~response_mask, 0.0)
    values = values.masked_fill(~response_mask, 0.0)
    advantages = torch.zeros_like(rewards)
    next_advantage = torch.zeros_like(rewards[:, 0])
    next_value = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        td_error = rewards[:, t] + gamma * next_value - values[:, t]
        next_advantage = td_error + gamma * gae_lambda * next_advantage
        next_value = values[:, t]
        advantages[:, t] = next_advantage
    advantages = advantages.masked_fill(~response_mask, 0.0)
    return advantages, advantages + values


def leave_one_out_advantages(rewards: Tensor, samples_per_prompt: int) -> Tensor:
    """Each response's reward less the mean of the others to its prompt, [B]; the k responses to a prompt are adjacent.

    k / (k - 1) (r - mean of all k): unbiased, since no response is its own baseline (Kool et al. 2019; Ahmadian et al.
    2024).
    """
    groups = rewards.view(-1, samples_per_prompt)
    others = (groups.sum(dim=1, keepdim=True) - groups) / (samples_per_prompt - 1)
    return (groups - others).flatten()


def group_relative_advantages(rewards: Tensor, samples_per_prompt: int, *, divide_by_std: bool) -> Tensor:
    """Each response's reward less the mean of its group, [B]; the G responses to a prompt are adjacent.

    `divide_by_std`: in biased standard deviations of the group (Shao et al. 2024, section 4.1.2); without, every prompt
    weighs by how much its responses differ (Liu et al. 2025, Dr. GRPO).
    """
    groups = rewards.view(-1, samples_per_prompt)
    advantages = groups - groups.mean(dim=1, keepdim=True)
    if divide_by_std:
        advantages = advantages / (groups.std(dim=1, correction=0, keepdim=True) + STD_FLOOR)
    return advantages.flatten()
