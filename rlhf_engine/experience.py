"""What one rollout phase yields for the update, and how it is cut into minibatches and micro-batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from rlhf_engine.masking import masked_mean
from rlhf_engine.ranks import Ranks
from rlhf_engine.rewards import sequence_kl, token_kl
from rlhf_engine.rollout import Rollout


@dataclass(frozen=True)
class Experience:
    """A rollout with everything that a policy's update needs of it; token tensors [B, R], `scores` [B].

    `disagreements` [B]: standard deviation of the reward model's heads, 0 where it has one.
    """

    rollout: Rollout
    logprobs: Tensor
    ref_logprobs: Tensor
    entropies: Tensor
    scores: Tensor
    disagreements: Tensor
    rewards: Tensor
    advantages: Tensor

    def __len__(self) -> int:
        return len(self.rollout)

    @property
    def response_mask(self) -> Tensor:
        return self.rollout.response_mask

    @property
    def token_count(self) -> Tensor:
        """Valid response tokens, a scalar tensor."""
        return self.response_mask.sum().clamp(min=1)

    @property
    def sequence_kl(self) -> Tensor:
        """KL to the reference in nats per sequence, [B] (k1)."""
        return sequence_kl(self.logprobs, self.ref_logprobs, self.response_mask)

    @property
    def mean_entropy(self) -> Tensor:
        """Mean entropy of the policy's next-token distribution, in nats."""
        return masked_mean(self.entropies, self.response_mask)

    @property
    def token_figures(self) -> dict[str, Tensor]:
        """What a person may want to see of each response token, [B, R], by name: KL to the reference is k1."""
        kl = token_kl(self.logprobs, self.ref_logprobs, self.response_mask)
        return {"kl_nats": kl, "reward": self.rewards, "advantage": self.advantages}

    def rows(self, index: Tensor) -> Self:
        """The episodes at `index`, trimmed to their own longest prompt and response."""
        rollout = self.rollout.rows(index)
        width = rollout.response_tokens.shape[1]
        parts = {
            field.name: part[index] if part.ndim == 1 else part[index, :width]
            for field in fields(self)
            if isinstance(part := getattr(self, field.name), Tensor)
        }
        return type(self)(rollout=rollout, **parts)

    def shuffled_minibatches(self, count: int, *, epochs: int, seed: int) -> Iterator[Self]:
        """`epochs` passes in an order drawn from `seed`, each cut into `count` equal minibatches.

        Within one, responses to a prompt stay side by side, since their prompt is then computed once.

        Raises ValueError if the batch can't be cut evenly.
        """
        if len(self) % count:
            raise ValueError(f"{len(self)} episodes can't be cut into {count} equal minibatches")
        generator = torch.Generator().manual_seed(seed)
        for _ in range(epochs):
            order = torch.randperm(len(self), generator=generator)
            for index in order.chunk(count):
                yield self.rows(index.sort().values.to(self.scores.device))

    def share_of(self, ranks: Ranks) -> Self:
        """The episodes that this rank works on."""
        own = ranks.own(self.rollout.lengths)
        return self.rows(torch.tensor(own, device=self.scores.device)) if ranks.size > 1 else self

    def micro_batches(self, size: int) -> Iterator[Self]:
        """Consecutive pieces of at most `size` episodes."""
        for index in torch.arange(len(self), device=self.scores.device).split(size):
            yield self.rows(index)


@dataclass(frozen=True)
class PPOExperience(Experience):
    """With what the critic's update needs, [B, R]."""

    values: Tensor
    returns: Tensor

    @property
    def token_figures(self) -> dict[str, Tensor]:
        return super().token_figures | {"value": self.values}
