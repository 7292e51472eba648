"""Which pairs of responses to ask people about: any, or those of which a reward model is least sure."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlhf_engine.config import Choose
from rlhf_engine.scalar_heads import disagreement


def margins(head_scores: Tensor) -> Tensor:
    """First response's score less the second's, by head, [N, n], of every head's scores of both [N, 2, n]."""
    return head_scores[:, 0] - head_scores[:, 1]


def uncertainty(head_margins: Tensor, choose: Choose) -> Tensor:
    """The larger, the less sure, [N], of every head's margins [N, n]; for "random" the same of all.

    near_ties: less the distance of the mean margin from 0, where a Bradley-Terry model gives both the same chance;
    disagreement: standard deviation of the margin over the heads.
    """
    if choose == "near_ties":
        return -head_margins.mean(dim=-1).abs()
    if choose == "disagreement":
        return disagreement(head_margins)
    return torch.zeros(len(head_margins))


def most_uncertain(uncertain: Tensor, count: int) -> list[int]:
    """The `count` least sure of [N], in their own order; of equals the first."""
    order = torch.argsort(uncertain, descending=True, stable=True)
    return sorted(order[:count].tolist())


def different(first: Sequence[str], second: Sequence[str]) -> list[int]:
    """The places of pairs that can be told apart: of two equal texts, and of one and nothing, nobody is asked."""
    texts = enumerate(zip(first, second, strict=True))
    return [place for place, (one, other) in texts if one and other and one != other]
