"""Work on data that never changes (held-out rows, the probe): each rank does its share, and all get all results.

Shares have as many rows on each rank, some of them twice if need be, so that ranks do as many forwards as each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_engine.data.batching import left_pad
from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.ranks import Dealt, Ranks
from rlhf_engine.rollout import Rollout


def of_all_rows(ranks: Ranks, lengths: Sequence[int], work: Callable[[list[int]], Tensor]) -> Tensor:
    """[N, ...] of the N rows of so many tokens; `work` gives [n, ...] of those that it is asked for."""
    dealt = ranks.dealt(lengths)
    return ranks.joined(work(dealt[ranks.rank]), dealt)


def of_all_groups(
    ranks: Ranks, groups: Sequence[ComparisonGroup], work: Callable[[list[ComparisonGroup]], Sequence[Tensor]]
) -> list[Tensor]:
    """[K, ...] of each group's K responses; `work` gives them of the groups that it is asked for."""
    most = max((len(group.responses) for group in groups), default=0)

    def padded(rows: list[int]) -> Tensor:
        return torch.stack([_lengthened(part, most) for part in work([groups[row] for row in rows])])

    found = of_all_rows(ranks, [group.token_count for group in groups], padded)
    return [part[: len(group.responses)] for part, group in zip(found, groups, strict=True)]


def responses_of_all(
    ranks: Ranks, prompts: Sequence[list[int]], pad_id: int, sample: Callable[[list[int]], Rollout]
) -> Rollout:
    """Responses to all `prompts` (token lists); `sample` gives those to the rows that it is asked for."""
    dealt = ranks.dealt([len(prompt) for prompt in prompts])
    return joined_rollout(sample(dealt[ranks.rank]), prompts, dealt, ranks, pad_id)


def joined_rollout(own: Rollout, prompts: Sequence[list[int]], dealt: Dealt, ranks: Ranks, pad_id: int) -> Rollout:
    """All ranks' responses to `prompts`, of which this rank sampled its `own`."""
    if ranks.size == 1:
        return own
    prompt_tokens, prompt_mask = (part.to(own.tokens.device) for part in left_pad(prompts, pad_id))
    parts = (ranks.joined(part, dealt) for part in (own.response_tokens, own.response_mask, own.ended))
    return Rollout(prompt_tokens, prompt_mask, *parts)


def _lengthened(part: Tensor, rows: int) -> Tensor:
    """`part` [K, ...] with zeros up to so many rows."""
    return F.pad(part, [0, 0] * (part.ndim - 1) + [0, rows - len(part)])
