"""Prompts with the responses that a policy gave. The only place where prompt and response columns are sliced.

    states           [prompt, t1, t2, EOS, PAD]     values  V0 V1 V2 V3 V4
    actions                  [t1, t2, EOS, PAD]     logprob of action i comes from the logits at state i
    rewards                  [ 0,  0,  +1,   0]     the score belongs to the EOS *action*
    response_mask            [ 1,  1,   1,   0]     True up to and including EOS

Every response tensor is [B, R]: column t belongs to the t-th sampled token, `values[:, t]` to the state before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_engine.data.batching import left_pad, right_pad
from rlhf_engine.hooks import Hooks
from rlhf_engine.masking import mask_through_first
from rlhf_engine.packing import Rows


@dataclass(frozen=True)
class Rollout:
    """Left-padded prompts [B, P] and right-padded responses [B, R] with their masks; `ended` [B]: the row has EOS."""

    prompt_tokens: Tensor
    prompt_mask: Tensor
    response_tokens: Tensor
    response_mask: Tensor
    ended: Tensor

    @classmethod
    def of_samples(
        cls, prompt_tokens: Tensor, prompt_mask: Tensor, sampled: Tensor, *, eos_id: int, pad_id: int
    ) -> Rollout:
        """From sampled tokens [B, R]: what follows the first EOS becomes padding."""
        is_eos = sampled == eos_id
        response_mask = mask_through_first(is_eos)
        tokens = sampled.masked_fill(~response_mask, pad_id)
        return cls(prompt_tokens, prompt_mask, tokens, response_mask, is_eos.any(dim=-1))

    @classmethod
    def of_texts(
        cls,
        prompts: Sequence[list[int]],
        responses: Sequence[list[int]],
        *,
        eos_id: int,
        pad_id: int,
        device: torch.device,
    ) -> Rollout:
        """From token lists of given responses (demonstrations, comparisons)."""
        prompt_tokens, prompt_mask = left_pad(prompts, pad_id)
        response_tokens, response_mask = right_pad(responses, pad_id)
        ended = torch.tensor([bool(tokens) and tokens[-1] == eos_id for tokens in responses])
        parts = (prompt_tokens, prompt_mask, response_tokens, response_mask, ended)
        return cls(*(part.to(device) for part in parts))

    def __len__(self) -> int:
        return len(self.prompt_tokens)

    @property
    def tokens(self) -> Tensor:
        """[B, P + R]"""
        return torch.cat([self.prompt_tokens, self.response_tokens], dim=1)

    @property
    def mask(self) -> Tensor:
        """[B, P + R]"""
        return torch.cat([self.prompt_mask, self.response_mask], dim=1)

    @property
    def response_lengths(self) -> Tensor:
        """[B] tokens in each response, EOS included."""
        return self.response_mask.sum(dim=-1)

    @property
    def token_rows(self) -> Rows:
        """What a model reads: each prompt with its response."""
        return Rows.of_sequences(self.tokens, self.mask)

    @property
    def places(self) -> Tensor:
        """[B, P + R] the flat index of each token."""
        return torch.arange(self.mask.numel(), device=self.mask.device).view(self.mask.shape)

    @property
    def acting_places(self) -> Tensor:
        """[n] the flat index of the state before each of the n valid actions."""
        return self.acting_states(self.places)[self.response_mask]

    @property
    def response_places(self) -> Tensor:
        """[n] the flat index of each of the n valid response tokens."""
        return self.response_states(self.places)[self.response_mask]

    def acting_states(self, hidden: Tensor) -> Tensor:
        """[B, P + R, ...] -> [B, R, ...]: the state before each action."""
        start = self.prompt_tokens.shape[1] - 1
        return hidden[:, start : start + self.response_tokens.shape[1]]

    def final_states(self, hidden: Tensor) -> Tensor:
        """[B, P + R, ...] -> [B, ...]: the state at each row's last valid token (EOS, where the row ended)."""
        last = self.prompt_tokens.shape[1] + self.response_lengths - 1
        return hidden[torch.arange(len(self), device=hidden.device), last]

    def response_states(self, hidden: Tensor) -> Tensor:
        """[B, P + R, ...] -> [B, R, ...]: the state at each response token, which has read it."""
        return hidden[:, self.prompt_tokens.shape[1] :]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each prompt with its response."""
        return [int(count) for count in self.mask.sum(dim=-1)]

    def rows(self, index: Tensor) -> Rollout:
        """The rows at `index`, without columns that are padding in all of them."""
        return self.picked(index).trimmed()

    def picked(self, index: Tensor) -> Rollout:
        """The rows at `index`, with all columns."""
        return Rollout(*(getattr(self, field.name)[index] for field in fields(self)))

    def trimmed(self) -> Rollout:
        """Without prompt or response columns that are padding in every row (one response column stays)."""
        prompt_width = max(int(self.prompt_mask.sum(dim=-1).max()), 1)
        response_width = max(int(self.response_lengths.max()), 1)
        return Rollout(
            self.prompt_tokens[:, -prompt_width:],
            self.prompt_mask[:, -prompt_width:],
            self.response_tokens[:, :response_width],
            self.response_mask[:, :response_width],
            self.ended,
        )


def in_micro_batches(
    function: Callable[[Rollout], tuple[Tensor, ...]], rollout: Rollout, size: int, hooks: Hooks
) -> tuple[Tensor, ...]:
    """`function` over pieces of at most `size` rows; results [b] or [b, r] joined to [B] or [B, R], 0 beyond r."""
    width = rollout.response_tokens.shape[1]
    pieces = []
    for rows in torch.arange(len(rollout), device=rollout.tokens.device).split(size):
        hooks.safe_point()
        pieces.append(function(rollout.rows(rows)))
    return tuple(torch.cat([_widened(part, width) for part in parts]) for parts in zip(*pieces, strict=True))


def _widened(part: Tensor, width: int) -> Tensor:
    return part if part.ndim == 1 else F.pad(part, (0, width - part.shape[1]))
