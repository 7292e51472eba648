"""Hidden states of a rollout's tokens. Neighbouring rows of one prompt, as RLOO and GRPO have them, compute it once.

rollout  [p1 p2 a1 a2]      read as  [p1 p2 a1 a2 b1 --]      places  [0 1  2  3]
         [p1 p2 b1 --]               [q1 q2 c1 c2 -- --]              [0 1  4  5]
         [q1 q2 c1 c2]                                                [6 7  8  9]
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlhf_engine.models import backbone_of, position_ids_of
from rlhf_engine.packing import PADDING, STEM, Rows
from rlhf_engine.rollout import Rollout
from rlhf_engine.trunk import family_of, states_at

RESPONSES_TO_PROMPT = 2
"""Responses of one row are together at most so many times as long as its prompt: attention also computes, and masks,
what they don't see of each other, which grows with the square of their tokens.
"""


def states_before_actions(model: nn.Module, rollout: Rollout) -> Tensor:
    """[n, H]: the state before each of the n valid actions, row by row."""
    rows, places = _reading(model, rollout)
    return states_at(model, rows, rollout.acting_states(places)[rollout.response_mask])


def states_of_responses(model: nn.Module, rollout: Rollout) -> Tensor:
    """[n, H]: the state at each of the n valid response tokens, row by row."""
    rows, places = _reading(model, rollout)
    return states_at(model, rows, rollout.response_states(places)[rollout.response_mask])


def final_states(model: nn.Module, rollout: Rollout) -> Tensor:
    """[B, H]: the state at each row's last valid token."""
    rows, places = _reading(model, rollout)
    return states_at(model, rows, rollout.final_states(places))


def _reading(model: nn.Module, rollout: Rollout) -> tuple[Rows, Tensor]:
    """What the model reads, and the flat index there of each token of the rollout, [B, P + R].

    Only where attention is our own: another family might not heed which response a token belongs to.
    """
    if family_of(backbone_of(model)) is None:
        return rollout.token_rows, rollout.places
    return with_shared_prompts(rollout)


def with_shared_prompts(rollout: Rollout) -> tuple[Rows, Tensor]:
    """A row for each run of neighbours with the same prompt: [prompt | response 1 | ... | response K].

    Long responses are read a few to a row, if not one by one. A row of one response stays a plain sequence, which needs
    no mask.
    """
    first = _begins_row(rollout)
    starts = first.nonzero().squeeze(1)
    if len(starts) == len(rollout):
        return rollout.token_rows, rollout.places
    row, device = first.cumsum(0) - 1, first.device
    responses = torch.bincount(row)
    number = torch.arange(len(rollout), device=device) - starts[row]
    prompts, length = rollout.prompt_tokens.shape[1], rollout.response_tokens.shape[1]
    columns = prompts + length * number[:, None] + torch.arange(length, device=device)
    branch = torch.where(responses[row] > 1, number + 1, STEM)
    lengths = rollout.prompt_mask.sum(dim=-1)

    def laid_out(of_prompts: Tensor, of_responses: Tensor, padding: int) -> Tensor:
        rest = of_prompts.new_full((len(starts), length * int(responses.max())), padding)
        together = torch.cat([of_prompts[starts], rest], dim=1)
        together[row[:, None], columns] = of_responses
        return together

    rows = Rows(
        laid_out(rollout.prompt_tokens, rollout.response_tokens, 0),
        laid_out(position_ids_of(rollout.prompt_mask), lengths[:, None] + torch.arange(length, device=device), 0),
        laid_out(rollout.prompt_mask.long() - 1, torch.where(rollout.response_mask, branch[:, None], PADDING), PADDING),
    )
    flat = torch.cat([torch.arange(prompts, device=device).expand(len(rollout), -1), columns], dim=1)
    return rows, row[:, None] * rows.tokens.shape[1] + flat


def _begins_row(rollout: Rollout) -> Tensor:
    """[B] whether the row before has another prompt, there is none, or it is full."""
    tokens, mask = rollout.prompt_tokens, rollout.prompt_mask
    alike = (mask[1:] == mask[:-1]) & ((tokens[1:] == tokens[:-1]) | ~mask[1:])
    first = torch.cat([mask.new_ones(1), ~alike.all(dim=1)])
    most = max(RESPONSES_TO_PROMPT * tokens.shape[1] // max(rollout.response_tokens.shape[1], 1), 1)
    episodes = torch.arange(len(rollout), device=first.device)
    since_first = episodes - first.nonzero().squeeze(1)[first.cumsum(0) - 1]
    return since_first % most == 0
