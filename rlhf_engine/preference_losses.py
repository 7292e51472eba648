"""Losses of learning from preferences without a reward model, as pure functions: log-ratios in, one scalar out.

The log-ratio of a response y to x is h(y) = log pi(y|x) - log pi_ref(y|x), in nats; beta h(y) is its *implicit reward*.
Losses are sums divided by `count`, so that micro-batches of one batch add up to exactly its mean; leave it out for the
mean over what is given.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

LogRatioReduction = Literal["sum", "mean"]


def sequence_logratios(
    logprobs: Tensor, ref_logprobs: Tensor, response_mask: Tensor, *, reduction: LogRatioReduction = "sum"
) -> Tensor:
    """h(y) of each response, [N], from token log-probabilities [N, R]: their sum over tokens, or their mean."""
    total = (logprobs - ref_logprobs).masked_fill(~response_mask, 0.0).sum(dim=-1)
    return total if reduction == "sum" else total / response_mask.sum(dim=-1).clamp(min=1)


def _mean(losses: Tensor, count: int | None) -> Tensor:
    return losses.sum() / (max(len(losses), 1) if count is None else count)


def dpo_loss(
    chosen_logratios: Tensor,
    rejected_logratios: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
    count: int | None = None,
) -> Tensor:
    """Mean over pairs [N] of -log sigmoid(beta (h(chosen) - h(rejected))) (Rafailov et al. 2023, equation 7).

    With `label_smoothing` e, labels count as wrong with probability e: -(1 - e) log sigmoid(m) - e log sigmoid(-m) at
    margin m (conservative DPO, Mitchell 2023), smallest at m = log((1 - e) / e).
    """
    margins = beta * (chosen_logratios - rejected_logratios)
    losses = -(1.0 - label_smoothing) * F.logsigmoid(margins) - label_smoothing * F.logsigmoid(-margins)
    return _mean(losses, count)


def ipo_loss(chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float, count: int | None = None) -> Tensor:
    """Mean over pairs [N] of (h(chosen) - h(rejected) - 1 / (2 beta))^2 (Azar et al. 2023, equation 17; beta is tau).

    The paper's h is the sum over a response's tokens; with the mean, beta means nats per token.
    """
    return _mean((chosen_logratios - rejected_logratios - 0.5 / beta).square(), count)


def kto_reference_point(mismatched_logratios: Tensor) -> Tensor:
    """z0, scalar: an estimate of KL(pi || pi_ref) in nats per sequence from responses [N] to *other* prompts.

    max(0, mean h), detached: no gradient flows through it (Ethayarajh et al. 2024, section 4).
    """
    return mismatched_logratios.detach().mean().clamp(min=0.0)


def kto_loss(
    desirable_logratios: Tensor,
    undesirable_logratios: Tensor,
    reference_point: Tensor,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    count: int | None = None,
) -> Tensor:
    """Mean over examples of weight (1 - sigmoid(+-beta (h(y) - z0))), + for desirable (Ethayarajh et al. 2024, eq. 8).

    Desirable [N] and undesirable [M] responses need not be pairs; z0 is `reference_point`, a scalar.
    """
    desirable = desirable_weight * F.sigmoid(-beta * (desirable_logratios - reference_point))
    undesirable = undesirable_weight * F.sigmoid(beta * (undesirable_logratios - reference_point))
    total = desirable.sum() + undesirable.sum()
    return total / (max(len(desirable) + len(undesirable), 1) if count is None else count)
