"""59: sums over every response of a tiny language model against what the engine samples, scores and differentiates."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine_models import ARCHITECTURES, policy_of
from enumerable import (
    EOS,
    all_responses,
    exact_gradient,
    exact_kl,
    expected_reward,
    optimal_logprobs,
    penalised_objective,
    rows_of,
    sequence_logprobs,
    set_scores,
    small_tokenizer,
    tabular_policy,
    tabular_scalar_model,
    total_variation,
)
from rlhf_engine.config import Architecture
from rlhf_engine.generation import generate_rollout
from rlhf_engine.hooks import NoHooks
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.losses import clipped_policy_loss
from rlhf_engine.rewards import sequence_kl
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import response_scores

LENGTH = 3
SAMPLES = 4096


def samples_of(policy: Any, vocabulary: int, *, temperature: float = 1.0) -> Rollout:
    return generate_rollout(
        policy, [[0]] * SAMPLES, episodes=range(SAMPLES), seed=1, response_tokens=LENGTH, temperature=temperature,
        eos_id=EOS, pad_id=vocabulary, batch_size=SAMPLES, hooks=NoHooks(),
    )  # fmt: skip


def rewards_of(responses: Rollout) -> Tensor:
    """An arbitrary reward that tells all responses apart."""
    return torch.sin(torch.arange(len(responses), dtype=torch.float32))


def within_five_standard_errors(estimates: Tensor, exact: Tensor) -> bool:
    """The mean of `estimates` [B, ...] over rows is `exact` [...], in every place."""
    error = (estimates.mean(dim=0) - exact).abs()
    return bool((error <= 5 * estimates.std(dim=0) / math.sqrt(len(estimates)) + 1e-7).all())


@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_59_probabilities_of_all_responses_add_up_to_1(architecture: Architecture, temperature: float) -> None:
    policy = policy_of(small_tokenizer(), architecture)
    logprobs = sequence_logprobs(policy, all_responses(4, LENGTH), temperature=temperature).detach()
    assert abs(float(logprobs.exp().sum()) - 1.0) < 1e-5


def test_59_samples_have_the_exact_frequencies_reward_and_kl() -> None:
    policy, reference = policy_of(small_tokenizer()), policy_of(small_tokenizer())
    responses = all_responses(4, LENGTH)
    with torch.no_grad():
        logprobs, ref_logprobs = sequence_logprobs(policy, responses), sequence_logprobs(reference, responses)
        sampled = samples_of(policy, 4)
        rows, rewards = rows_of(sampled, responses), rewards_of(responses)
        frequencies = torch.bincount(rows, minlength=len(responses)) / SAMPLES
        spread = (logprobs.exp() * (1 - logprobs.exp()) / SAMPLES).sqrt()
        assert bool(((frequencies - logprobs.exp()).abs() <= 5 * spread + 1 / SAMPLES).all())
        assert within_five_standard_errors(rewards[rows], expected_reward(logprobs, rewards))
        parts = response_logprobs(policy, sampled), response_logprobs(reference, sampled), sampled.response_mask
        assert within_five_standard_errors(sequence_kl(*parts), exact_kl(logprobs, ref_logprobs))


def test_59_policy_gradient_of_samples_is_the_exact_gradient() -> None:
    policy, responses = tabular_policy(4, LENGTH, spread=1.0), all_responses(4, LENGTH)
    rewards = rewards_of(responses)
    (exact,) = exact_gradient(policy, expected_reward(sequence_logprobs(policy, responses), rewards))
    logprobs = sequence_logprobs(policy, responses)
    scores = torch.stack([torch.autograd.grad(row, policy.table, retain_graph=True)[0] for row in logprobs])
    variance = torch.einsum("n,nvc->vc", logprobs.exp(), (rewards[:, None, None] * scores).square()) - exact.square()
    sampled = samples_of(policy, 4)
    advantages = rewards[rows_of(sampled, responses)][:, None].expand_as(sampled.response_mask)
    new = response_logprobs(policy, sampled)
    loss = clipped_policy_loss(
        new, new.detach(), advantages, sampled.response_mask, clip_range=0.2, token_count=SAMPLES
    )  # fmt: skip
    (estimate,) = torch.autograd.grad(-loss, policy.table)
    assert bool(((estimate - exact).abs() <= 5 * (variance.clamp(min=0) / SAMPLES).sqrt() + 1 / SAMPLES).all())


def test_59_no_policy_beats_the_closed_form_optimum() -> None:
    beta, responses = 0.5, all_responses(4, LENGTH)
    rewards, reference = rewards_of(responses), tabular_policy(4, LENGTH, spread=1.0)
    policy = copy.deepcopy(reference)
    with torch.no_grad():
        ref_logprobs = sequence_logprobs(reference, responses)
    best = optimal_logprobs(ref_logprobs, rewards, beta)
    highest = float(penalised_objective(best, ref_logprobs, rewards, beta))
    assert math.isclose(highest, beta * float((ref_logprobs + rewards / beta).logsumexp(dim=-1)), rel_tol=1e-5)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.2)
    for _ in range(200):
        objective = penalised_objective(sequence_logprobs(policy, responses), ref_logprobs, rewards, beta)
        assert float(objective.detach()) <= highest + 1e-5
        optimizer.zero_grad()
        (-objective).backward()
        optimizer.step()
    assert total_variation(sequence_logprobs(policy, responses).detach(), best) < 0.01


def test_59_a_tabular_reward_model_scores_each_response_as_told() -> None:
    responses = all_responses(4, LENGTH)
    reward_model = tabular_scalar_model(4, LENGTH)
    set_scores(reward_model, responses, rewards_of(responses))
    shuffled = torch.randperm(len(responses))
    assert torch.equal(response_scores(reward_model, responses.rows(shuffled)), rewards_of(responses)[shuffled])


def test_59_several_prompts_have_tables_of_their_own() -> None:
    policy = tabular_policy(4, LENGTH, prompts=2, spread=1.0)
    first, second = (sequence_logprobs(policy, all_responses(4, LENGTH, [prompt])).detach() for prompt in (0, 1))
    assert abs(float(second.exp().sum()) - 1.0) < 1e-5
    assert total_variation(first, second) > 0.1
