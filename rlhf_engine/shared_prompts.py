"""K responses to one prompt in one row, the prompt computed once: [prompt | response 1 | ... | response K].

Each response attends to the prompt and itself alone, at the positions it would have had after the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf_engine.data.batching import right_pad
from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.models import backbone_of
from rlhf_engine.scalar_models import ScalarModel

PROMPT, PADDING = 0, -1


@dataclass(frozen=True)
class SharedPromptBatch:
    """G rows of T tokens. `branches` [G, T]: 0 prompt, k the k-th response, -1 padding.

    `last` [N]: flat index (row * T + column) of each response's last token, in order of groups and responses.
    """

    tokens: Tensor
    positions: Tensor
    branches: Tensor
    last: Tensor


def _row_of(group: ComparisonGroup) -> tuple[list[int], list[int], list[int], list[int]]:
    prompt = group.prompt.tokens
    tokens, positions, branches = list(prompt), list(range(len(prompt))), [PROMPT] * len(prompt)
    last = []
    for branch, response in enumerate(group.response_tokens, start=1):
        tokens += response
        positions += range(len(prompt), len(prompt) + len(response))
        branches += [branch] * len(response)
        last.append(len(tokens) - 1)
    return tokens, positions, branches, last


def shared_prompt_batch(groups: Sequence[ComparisonGroup], device: torch.device) -> SharedPromptBatch:
    """Packs groups of any number of responses; right-padded to the longest row."""
    rows = [_row_of(group) for group in groups]
    tokens, _ = right_pad([row[0] for row in rows], 0)
    positions, _ = right_pad([row[1] for row in rows], 0)
    branches, _ = right_pad([row[2] for row in rows], PADDING)
    last = [index * tokens.shape[1] + column for index, row in enumerate(rows) for column in row[3]]
    return SharedPromptBatch(*(x.to(device) for x in (tokens, positions, branches, torch.tensor(last))))


def tree_mask(branches: Tensor) -> Tensor:
    """[G, T] -> additive attention mask [G, 1, T, T]: 0 where row i may see column j, else the lowest number."""
    length = branches.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    seen = (branches[:, None, :] == PROMPT) | (branches[:, None, :] == branches[:, :, None])
    lowest = torch.finfo(torch.float32).min
    return torch.zeros(seen.shape, device=branches.device).masked_fill(~(seen & causal), lowest).unsqueeze(1)


def group_scores(reward_model: ScalarModel, batch: SharedPromptBatch) -> Tensor:
    """Scores of all responses, fp32 [N], equal to scoring each of them alone after its prompt."""
    output = backbone_of(reward_model)(
        input_ids=batch.tokens,
        attention_mask=tree_mask(batch.branches),
        position_ids=batch.positions,
        use_cache=False,
    )
    return reward_model.head(output.last_hidden_state.flatten(0, 1)[batch.last])
