"""K responses to one prompt in one row, the prompt computed once: [prompt | response 1 | ... | response K].

Each response attends to the prompt and itself alone, at the positions it would have had after the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_engine.data.batching import right_pad
from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.logprobs import selected_logprobs
from rlhf_engine.models import lm_head_weight
from rlhf_engine.packing import PADDING, STEM, Rows, mean_states, scattered
from rlhf_engine.scalar_models import ScalarModel
from rlhf_engine.trunk import states_at


@dataclass(frozen=True)
class SharedPromptBatch:
    """G rows of T tokens, which hold N responses of at most R tokens, in order of groups and responses.

    A prompt is the stem of its row, its responses the branches. `places` [N, R]: flat index (row * T + column) of each
    response token, valid where `response_mask` is True. `prompt_ends` [N]: flat index of the prompt's last token.
    """

    rows: Rows
    places: Tensor
    response_mask: Tensor
    prompt_ends: Tensor

    @property
    def response_tokens(self) -> Tensor:
        """[N, R]; a token of no meaning outside `response_mask`."""
        return self.rows.tokens.flatten()[self.places]

    @property
    def acting(self) -> Tensor:
        """[N, R] flat index of the state before each response token."""
        return torch.cat([self.prompt_ends[:, None], self.places[:, :-1]], dim=1)

    @property
    def last(self) -> Tensor:
        """[N] flat index of each response's last token."""
        final = self.response_mask.sum(dim=-1, keepdim=True) - 1
        return self.places.gather(1, final).squeeze(1)


@dataclass(frozen=True)
class _Row:
    """One group: `columns` lists where each response's tokens are."""

    tokens: list[int]
    positions: list[int]
    branches: list[int]
    columns: list[list[int]]
    prompt_length: int


def _row_of(group: ComparisonGroup) -> _Row:
    prompt = group.prompt.tokens
    tokens, positions, branches = list(prompt), list(range(len(prompt))), [STEM] * len(prompt)
    columns = []
    for branch, response in enumerate(group.response_tokens, start=1):
        columns.append(list(range(len(tokens), len(tokens) + len(response))))
        tokens += response
        positions += range(len(prompt), len(prompt) + len(response))
        branches += [branch] * len(response)
    return _Row(tokens, positions, branches, columns, len(prompt))


def shared_prompt_batch(groups: Sequence[ComparisonGroup], device: torch.device) -> SharedPromptBatch:
    """Packs groups of any number of responses; right-padded to the longest row."""
    rows = [_row_of(group) for group in groups]
    tokens, _ = right_pad([row.tokens for row in rows], 0)
    positions, _ = right_pad([row.positions for row in rows], 0)
    branches, _ = right_pad([row.branches for row in rows], PADDING)
    width = tokens.shape[1]
    flat = [[i * width + column for column in columns] for i, row in enumerate(rows) for columns in row.columns]
    ends = torch.tensor([i * width + row.prompt_length - 1 for i, row in enumerate(rows) for _ in row.columns])
    places, response_mask = right_pad(flat, 0)
    packed = Rows(*(x.to(device) for x in (tokens, positions, branches)))
    return SharedPromptBatch(packed, *(x.to(device) for x in (places, response_mask, ends)))


def group_head_scores(reward_model: ScalarModel, batch: SharedPromptBatch) -> Tensor:
    """Every head's scores of all responses, fp32 [N, n], equal to scoring each of them alone after its prompt."""
    mask = batch.response_mask
    if reward_model.head_shape.pooling == "last":
        return reward_model.head_scores(states_at(reward_model, batch.rows, batch.last))
    states = states_at(reward_model, batch.rows, batch.places[mask])
    return reward_model.head_scores(mean_states(states, mask))


def group_scores(reward_model: ScalarModel, batch: SharedPromptBatch) -> Tensor:
    """Scores of all responses, fp32 [N]: the mean over the heads."""
    return group_head_scores(reward_model, batch).mean(dim=-1)


def group_logprobs(policy: nn.Module, batch: SharedPromptBatch) -> Tensor:
    """log pi(a_t | s_t) of each response token, fp32 [N, R], 0 outside `response_mask`.

    Equal to `response_logprobs` of each response alone after its prompt.
    """
    mask = batch.response_mask
    states = states_at(policy, batch.rows, batch.acting[mask])
    return scattered(selected_logprobs(states, lm_head_weight(policy), batch.response_tokens[mask]), mask)
