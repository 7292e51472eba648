"""Generalised advantage estimation (Schulman et al. 2016, equation 16)."""

from __future__ import annotations

import torch
from torch import Tensor


def generalized_advantages(
    rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns, both [B, R], 0 outside `response_mask`.

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
