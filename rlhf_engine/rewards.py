"""From scores to per-token rewards, and the KL estimators, each named with its unit."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def apply_missing_eos_rule(
    scores: Tensor, ended: Tensor, *, rule: Literal["replace", "subtract"], value: float
) -> Tensor:
    """Scores [B] after the rule for responses without EOS (`ended` [B] is False), once per row.

    replace: the score becomes `value` (Huang et al. 2024, -1); subtract: `value` is taken off the score (TRL).
    """
    penalised = torch.full_like(scores, value) if rule == "replace" else scores - value
    return torch.where(ended, scores, penalised)


def token_kl(logprobs: Tensor, ref_logprobs: Tensor, response_mask: Tensor) -> Tensor:
    """k1 = log pi(a|s) - log pi_ref(a|s) of the sampled tokens in nats, [B, R], 0 outside the mask."""
    return (logprobs - ref_logprobs).masked_fill(~response_mask, 0.0)


def sequence_kl(logprobs: Tensor, ref_logprobs: Tensor, response_mask: Tensor) -> Tensor:
    """Sum of k1 over each response in nats, [B]: unbiased for the KL of the sequence distributions."""
    return token_kl(logprobs, ref_logprobs, response_mask).sum(dim=-1)


def kl_penalized_rewards(
    scores: Tensor, logprobs: Tensor, ref_logprobs: Tensor, response_mask: Tensor, kl_coef: float
) -> Tensor:
    """Per-token rewards [B, R]: -kl_coef * k1 at every valid action, and the score at the last one (the EOS action).

    Ziegler et al. 2019, equation 2. An empty response keeps no score: there is no action to reward.
    """
    penalties = -kl_coef * token_kl(logprobs, ref_logprobs, response_mask)
    columns = torch.arange(response_mask.shape[1], device=response_mask.device)
    last_action = (response_mask.sum(dim=-1, keepdim=True) - 1) == columns
    return penalties + last_action * scores.unsqueeze(-1)


def k3_token_kl(logprobs: Tensor, ref_logprobs: Tensor, response_mask: Tensor) -> Tensor:
    """k3 = pi_ref/pi - 1 - log(pi_ref/pi) of the sampled tokens in nats, [B, R], 0 outside the mask.

    Unbiased for the KL to the reference as k1 is, never negative, and of less variance near 0 (Schulman 2020).
    """
    log_ratio = (ref_logprobs - logprobs).masked_fill(~response_mask, 0.0)
    return log_ratio.expm1() - log_ratio
