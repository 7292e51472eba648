"""Neighbouring rows of one prompt compute it once, and have the states and gradients of each row alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine_models import ARCHITECTURES, policy_of, scalar_model_of
from rlhf_engine import rollout_states
from rlhf_engine.config import Architecture
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.packing import Rows
from rlhf_engine.rollout import Rollout
from rlhf_engine.rollout_states import with_shared_prompts
from rlhf_engine.scalar_models import response_scores, response_values

CPU = torch.device("cpu")
TOLERANCE = 1e-5
"""Relative to the largest; RMS norms compute in fp32 whatever they are given."""
PROMPTS = [[3, 4, 5], [3, 4, 5], [6, 7, 8, 9], [3, 4, 5], [10], [10], [10]]
RESPONSES = [[11, 12, 0], [13], [14, 15], [16, 0], [17, 18, 19, 0], [20, 0], [21, 22]]


def rollout_of(rows: list[int]) -> Rollout:
    texts = [[part[row] for row in rows] for part in (PROMPTS, RESPONSES)]
    return Rollout.of_texts(*texts, eos_id=0, pad_id=1, device=CPU)


def test_a_run_of_neighbours_is_one_row() -> None:
    """Of two responses at most: prompts and responses are 4 tokens wide."""
    rollout = rollout_of(list(range(7)))
    rows, places = with_shared_prompts(rollout)
    texts = [row[kept].tolist() for row, kept in zip(rows.tokens, rows.mask, strict=True)]
    assert texts == [
        [3, 4, 5, 11, 12, 0, 13], [6, 7, 8, 9, 14, 15], [3, 4, 5, 16, 0], [10, 17, 18, 19, 0, 20, 0], [10, 21, 22],
    ]  # fmt: skip
    branches = [row[kept].tolist() for row, kept in zip(rows.branches, rows.mask, strict=True)]
    assert branches == [[0, 0, 0, 1, 1, 1, 2], [0] * 6, [0] * 5, [0, 1, 1, 1, 1, 2, 2], [0] * 3]
    positions = [row[kept].tolist() for row, kept in zip(rows.positions, rows.mask, strict=True)]
    assert positions == [[0, 1, 2, 3, 4, 5, 3], [*range(6)], [*range(5)], [0, 1, 2, 3, 4, 1, 2], [0, 1, 2]]
    assert torch.equal(rows.tokens.flatten()[places][rollout.mask], rollout.tokens[rollout.mask])


def test_responses_longer_than_their_prompt_are_read_alone() -> None:
    rollout = Rollout.of_texts([[3, 4]] * 4, [[5] * 5] * 4, eos_id=0, pad_id=1, device=CPU)
    rows, places = with_shared_prompts(rollout)
    assert torch.equal(rows.tokens, rollout.tokens)
    assert torch.equal(places, rollout.places)
    assert int(rows.branches.max()) == 0


def test_prompts_that_differ_in_their_padding_alone_are_different() -> None:
    """PAD is a word of the vocabulary that a prompt may begin with."""
    rollout = Rollout.of_texts([[1, 3], [3]], [[4], [5]], eos_id=0, pad_id=1, device=CPU)
    assert torch.equal(rollout.prompt_tokens[0], rollout.prompt_tokens[1])
    assert len(with_shared_prompts(rollout)[0].tokens) == 2


def figures(policy: nn.Module, critic: Any, rollout: Rollout) -> list[Tensor]:
    """Log-probabilities, values and scores of all rows, and the gradients of their squares."""
    found = [response_logprobs(policy, rollout), response_values(critic, rollout), response_scores(critic, rollout)]
    parameters = [*policy.parameters(), *critic.parameters()]
    return [*found, *torch.autograd.grad(torch.stack([part.square().sum() for part in found]).sum(), parameters)]


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_log_probabilities_values_scores_and_gradients_are_those_of_rows_alone(
    tokenizer: Any, architecture: Architecture, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, critic = policy_of(tokenizer, architecture).double(), scalar_model_of(tokenizer, architecture).double()
    critic.network.config.score_pooling = pooling
    rollout = rollout_of(list(range(7)))
    shared = figures(policy, critic, rollout)
    monkeypatch.setattr(rollout_states, "with_shared_prompts", lambda rows: (rows.token_rows, rows.places))
    for ours, theirs in zip(shared, figures(policy, critic, rollout), strict=True):
        assert float((ours - theirs).abs().max()) <= TOLERANCE * float(theirs.abs().max())


def test_a_shared_prompt_is_computed_once_where_attention_is_our_own(tokenizer: Any) -> None:
    rollout, read = rollout_of(list(range(7))), []
    for attention, expected in (("sdpa", 28), ("eager", 7 * 8)):
        policy = policy_of(tokenizer, attention=attention)
        hook = policy.get_input_embeddings().register_forward_hook(lambda _m, _i, out: read.append(out[..., 0].numel()))
        response_logprobs(policy, rollout)
        hook.remove()
        assert read.pop() == expected


def test_a_response_does_not_see_its_neighbours(tokenizer: Any) -> None:
    policy = policy_of(tokenizer)
    rollout = rollout_of([4, 5, 6])
    before = response_logprobs(policy, rollout)
    changed = Rollout.of_texts(PROMPTS[4:], [[30, 31, 0], RESPONSES[5], [32]], eos_id=0, pad_id=1, device=CPU)
    after = response_logprobs(policy, changed)
    assert torch.equal(before[1, :2], after[1, :2])
    assert isinstance(with_shared_prompts(changed)[0], Rows)
