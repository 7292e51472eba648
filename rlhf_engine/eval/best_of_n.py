"""Best-of-n: of n responses the one with the highest score. No training; n times the sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def kl_bound_nats(n: int) -> float:
    """Upper bound of KL(best-of-n, policy) in nats per sequence: ln n - (n - 1) / n.

    Equality where scores have no ties and no response has much probability (Hilton 2023; Beirami et al. 2024).
    """
    return math.log(n) - (n - 1) / n


def expected_best(scores: Tensor, gains: Tensor, n: int) -> Tensor:
    """Unbiased estimate of E[gain of the best of n by score] from N >= n samples, scores and gains [N] (scalar).

    The mean over all subsets of n samples: the one of rank i (from 1, by score) is the best of C(i - 1, n - 1) of
    C(N, n) (Nakano et al. 2021, appendix I). Ties go to the later one. Raises ValueError for fewer than n samples.
    """
    count = len(scores)
    if not 1 <= n <= count:
        raise ValueError(f"best of {n} can't be estimated from {count} samples")
    weights = torch.tensor([math.comb(rank, n - 1) / math.comb(count, n) for rank in range(count)], dtype=torch.float64)
    return (weights.to(scores.device) * gains[scores.argsort(stable=True)].double()).sum()


def gains_by_n(scores: Tensor, gains: Tensor) -> list[list[float]]:
    """For each of N prompts the expected gain of the best of 1, 2, ... n by score; scores and gains are [n, N]."""
    return [
        [float(expected_best(scores[:, prompt], gains[:, prompt], n)) for n in range(1, len(scores) + 1)]
        for prompt in range(scores.shape[1])
    ]


def gain_at(by_n: Sequence[float], kl_nats: float) -> float | None:
    """The gain of best-of-n at a KL, straight between whole n; None beyond the largest n.

    Its KL is taken as the bound ln n - (n - 1) / n, which it reaches where scores have no ties.
    """
    kls = [kl_bound_nats(n) for n in range(1, len(by_n) + 1)]
    if kl_nats <= 0:
        return by_n[0]
    for (low, before), (high, after) in pairwise(zip(kls, by_n, strict=True)):
        if kl_nats <= high:
            return before + (after - before) * (kl_nats - low) / (high - low)
    return None
