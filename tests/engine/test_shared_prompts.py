"""Responses packed behind one prompt have the log-probabilities, and give the gradients, of each of them alone."""

from typing import Any

import pytest
import torch
from torch import Tensor

from engine_models import ARCHITECTURES, policy_of
from rlhf_engine.config import Architecture
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.rollout import Rollout
from rlhf_engine.shared_prompts import group_logprobs, shared_prompt_batch

CPU = torch.device("cpu")
GROUPS = [
    ComparisonGroup(Prompt("a", "", [3, 4, 5, 6, 7]), ["", "", ""], [[8, 9, 0], [10, 0], [11, 12, 13, 14, 15]], []),
    ComparisonGroup(Prompt("b", "", [16]), ["", ""], [[17, 18, 19, 0], [0]], []),
]


def alone(policy: Any) -> list[Tensor]:
    return [
        response_logprobs(
            policy, Rollout.of_texts([group.prompt.tokens], [response], eos_id=0, pad_id=1, device=CPU)
        ).flatten()
        for group in GROUPS
        for response in group.response_tokens
    ]


def gradients(policy: Any, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(policy.parameters())))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_log_probabilities_behind_a_shared_prompt_are_those_of_each_response_alone(
    tokenizer: Any, architecture: Architecture, attention: str
) -> None:
    policy = policy_of(tokenizer, architecture, attention=attention)
    packed, separate = group_logprobs(policy, shared_prompt_batch(GROUPS, CPU)), alone(policy)
    assert packed.shape == (5, 5)
    for row, expected in zip(packed, separate, strict=True):
        assert torch.allclose(row[: len(expected)], expected, atol=1e-4)
        assert bool((row[len(expected) :] == 0.0).all())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_behind_a_shared_prompt_are_those_of_each_response_alone(
    tokenizer: Any, architecture: Architecture
) -> None:
    policy = policy_of(tokenizer, architecture)
    packed = gradients(policy, group_logprobs(policy, shared_prompt_batch(GROUPS, CPU)).square().sum())
    separate = gradients(policy, torch.cat(alone(policy)).square().sum())
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(packed, separate, strict=True))


def test_gradient_checkpointing_changes_nothing(tokenizer: Any) -> None:
    plain, checkpointed = policy_of(tokenizer), policy_of(tokenizer, gradient_checkpointing=True)
    checkpointed.load_state_dict(plain.state_dict())
    batch = shared_prompt_batch(GROUPS, CPU)
    pair = [gradients(policy, group_logprobs(policy, batch).sum()) for policy in (plain, checkpointed)]
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(*pair, strict=True))
