"""Losses as pure functions: tensors in, one scalar out.

Token losses are sums over valid tokens divided by `token_count`, so that micro-batches of one minibatch add up to
exactly its mean; leave it out for the mean over the tokens given. A `token_count` [B, 1] is each row's own divisor.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_engine.masking import masked_sum
from rlhf_engine.rewards import k3_token_kl


def _per_token(losses: Tensor, mask: Tensor, token_count: Tensor | int | None) -> Tensor:
    return masked_sum(losses / (mask.sum().clamp(min=1) if token_count is None else token_count), mask)


def next_token_loss(logprobs: Tensor, mask: Tensor, token_count: Tensor | int | None = None) -> Tensor:
    """Cross-entropy in nats per token from the target tokens' log-probabilities, [B, R]."""
    return _per_token(-logprobs, mask, token_count)


def probability_ratio(logprobs: Tensor, old_logprobs: Tensor, response_mask: Tensor) -> Tensor:
    """pi(a|s) / pi_old(a|s), [B, R]; exactly 1 outside `response_mask`."""
    return (logprobs - old_logprobs).masked_fill(~response_mask, 0.0).exp()


def clipped_policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    *,
    clip_range: float,
    token_count: Tensor | int | None = None,
) -> Tensor:
    """PPO's clipped surrogate, negated for descent (Schulman et al. 2017, equation 7). All tensors [B, R]."""
    ratio = probability_ratio(logprobs, old_logprobs, response_mask)
    advantages = advantages.masked_fill(~response_mask, 0.0)
    clipped_ratio = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    losses = torch.maximum(-advantages * ratio, -advantages * clipped_ratio)
    return _per_token(losses, response_mask, token_count)


def reference_kl_loss(
    logprobs: Tensor, ref_logprobs: Tensor, response_mask: Tensor, *, token_count: Tensor | int | None = None
) -> Tensor:
    """Mean k3 to the reference in nats per token (Shao et al. 2024, equation 4). All tensors [B, R].

    Its value is KL(pi || pi_ref); its gradient under samples of pi is that of KL(pi_ref || pi).
    """
    return _per_token(k3_token_kl(logprobs, ref_logprobs, response_mask), response_mask, token_count)


def clipped_value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    response_mask: Tensor,
    *,
    value_clip_range: float,
    token_count: Tensor | int | None = None,
) -> Tensor:
    """Half the larger of the squared errors of the value and of the value clipped to old +- range. All [B, R]."""
    values, old_values, returns = (x.masked_fill(~response_mask, 0.0) for x in (values, old_values, returns))
    clipped = torch.clamp(values, old_values - value_clip_range, old_values + value_clip_range)
    losses = 0.5 * torch.maximum((values - returns).square(), (clipped - returns).square())
    return _per_token(losses, response_mask, token_count)


def pairwise_loss(
    chosen_scores: Tensor,
    rejected_scores: Tensor,
    pair_count: Tensor | int | None = None,
    *,
    weights: Tensor | None = None,
) -> Tensor:
    """Bradley-Terry: mean of -log sigmoid(chosen - rejected), [N] each (Stiennon et al. 2020, section 3.4).

    `weights` [N] count a pair so many times (a bootstrap); the divisor stays `pair_count`. Of n heads: [N, n] each.
    """
    losses = -F.logsigmoid(chosen_scores - rejected_scores)
    losses = losses if weights is None else losses * weights
    return losses.sum() / (max(len(losses), 1) if pair_count is None else pair_count)
