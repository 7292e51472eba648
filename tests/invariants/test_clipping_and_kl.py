"""What PPO clips, and the estimators of KL against exact expectations."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine_models import ARCHITECTURES, policy_of
from enumerable import all_responses, exact_kl, sequence_logprobs, small_tokenizer, tabular_policy
from rlhf_engine import logprobs, losses, models, ppo, rewards, trunk, update_metrics
from rlhf_engine.config import Architecture
from small_ppo import CONFIG, HOOKS, PROMPTS, config_with, gradients_of, new_experience, new_state

ONE = torch.ones(1, 1, dtype=torch.bool)
EPSILON = 0.2
RATIOS = [0.01, 0.5, 0.79, 0.81, 0.9, 1.0, 1.1, 1.19, 1.21, 1.5, 20.0]


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("advantage", [2.0, 0.5, -0.5, -2.0])
def test_37_the_gradient_is_cut_exactly_where_the_clip_says(advantage: float, ratio: float) -> None:
    """Zero if and only if A > 0 and r > 1 + eps, or A < 0 and r < 1 - eps; else -A r."""
    new = torch.tensor([[math.log(ratio)]], requires_grad=True)
    loss = losses.clipped_policy_loss(new, torch.zeros(1, 1), torch.tensor([[advantage]]), ONE, clip_range=EPSILON)
    (gradient,) = torch.autograd.grad(loss, new)
    cut = (advantage > 0 and ratio > 1 + EPSILON) or (advantage < 0 and ratio < 1 - EPSILON)
    assert math.isclose(float(gradient), 0.0 if cut else -advantage * ratio, rel_tol=1e-5)
    edge = 1 + EPSILON if advantage > 0 else 1 - EPSILON
    assert math.isclose(float(loss.detach()), -advantage * (edge if cut else ratio), rel_tol=1e-5)


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_37_clipped_tokens_of_an_update_give_no_gradient(shift: float) -> None:
    """All ratios are e^0.5 or e^-0.5: the tokens whose advantage has the same sign are cut, and only those."""
    state = new_state()
    experience = new_experience(state)
    mask, advantages = experience.response_mask, experience.advantages
    new = (experience.logprobs + shift).requires_grad_()
    loss = losses.clipped_policy_loss(new, experience.logprobs, advantages, mask, clip_range=EPSILON)
    (gradient,) = torch.autograd.grad(loss, new)
    cut = (advantages * shift > 0) & mask
    assert 0 < int(cut.sum()) < int(mask.sum())
    assert torch.equal(gradient == 0.0, cut | ~mask)


def test_37_ratios_are_to_the_policy_that_sampled() -> None:
    """All ratios are e^0.5 and all advantages 1, as they may be in a later epoch: every token is cut."""
    config = config_with(vf_coef=0.0)
    state = new_state(config)
    sampled = new_experience(state, config)
    later = dataclasses.replace(
        sampled, logprobs=sampled.logprobs - 0.5, advantages=torch.ones_like(sampled.advantages)
    )
    loss = ppo.ppo_loss(state.models, later, later, config, update_metrics.UpdateStatistics())
    loss.backward()
    assert math.isclose(float(loss.detach()), -1 - config.clip_range, rel_tol=1e-5)
    assert all(gradient is None or not bool(gradient.any()) for gradient in gradients_of(state.models.policy).values())


VALUE_CASES = [
    (1.0, 0.0, 2.0, 0.5 * 1.8**2),  # clipped to 0.2, further from the return: the larger error counts
    (0.1, 0.0, 2.0, 0.5 * 1.9**2),  # inside the range: nothing is clipped
    (1.0, 0.0, 0.9, 0.5 * 0.7**2),  # clipped to 0.2
    (-1.0, 0.0, 2.0, 0.5 * 3.0**2),  # clipped to -0.2, but the plain error is larger
    (3.0, 0.0, 0.1, 0.5 * 2.9**2),
]


@pytest.mark.parametrize(("value", "old", "target", "expected"), VALUE_CASES)
def test_38_value_loss_is_half_the_larger_squared_error(
    value: float, old: float, target: float, expected: float
) -> None:
    new = torch.tensor([[value]], requires_grad=True)
    loss = losses.clipped_value_loss(new, torch.tensor([[old]]), torch.tensor([[target]]), ONE, value_clip_range=0.2)
    assert math.isclose(float(loss.detach()), expected, rel_tol=1e-6)
    (gradient,) = torch.autograd.grad(loss, new)
    plain = 0.5 * (value - target) ** 2
    assert math.isclose(float(gradient), value - target if math.isclose(plain, expected) else 0.0, rel_tol=1e-5)


@pytest.mark.parametrize("vf_coef", [0.0, 0.1, 2.0])
def test_38_the_value_loss_enters_with_its_declared_coefficient(vf_coef: float) -> None:
    config = config_with(vf_coef=vf_coef)
    state = new_state(config)
    experience = new_experience(state, config)
    mask = experience.response_mask
    error = (experience.values - experience.returns)[mask]
    loss = ppo.ppo_loss(state.models, experience, experience, config, update_metrics.UpdateStatistics())
    expected = -experience.advantages[mask].mean() + vf_coef * 0.5 * error.square().mean()
    assert math.isclose(float(loss.detach()), float(expected), rel_tol=1e-4, abs_tol=1e-6)


def normal_quantiles(count: int = 200_001) -> Tensor:
    """Midpoints of `count` equal shares of N(0, 1), fp64: means over them are integrals, without noise."""
    shares = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    quantiles: Tensor = torch.special.ndtri(shares)
    return quantiles


def test_39_estimators_under_a_gaussian() -> None:
    """pi = N(0, 1), pi_ref = N(0.1, 1): KL = 0.005. Relative spreads: 20 of k1, 1.42 of k3 (Schulman 2020)."""
    samples, shift = normal_quantiles(), 0.1
    ours, theirs = -0.5 * samples.square(), -0.5 * (samples - shift).square()
    mask = torch.ones_like(samples, dtype=torch.bool)
    true = 0.5 * shift**2
    k1, k3 = rewards.token_kl(ours, theirs, mask), rewards.k3_token_kl(ours, theirs, mask)
    assert math.isclose(float(k1.mean()), true, rel_tol=1e-3)
    assert math.isclose(float(k3.mean()), true, rel_tol=1e-3)
    assert math.isclose(float(k1.std()) / true, 20.0, rel_tol=0.01)
    assert math.isclose(float(k3.std()) / true, 1.42, rel_tol=0.01)
    assert float(k3.min()) >= 0.0
    assert float(k1.min()) < 0.0


@pytest.mark.parametrize("seed", range(4))
def test_39_estimators_under_a_categorical(seed: int) -> None:
    """Sums over the vocabulary: k1 and k3 have the expectation sum p log(p / q), which is never negative."""
    generator = torch.Generator().manual_seed(seed)
    p, q = (torch.randn(1, 40, generator=generator, dtype=torch.float64).log_softmax(-1) for _ in range(2))
    mask = torch.ones(1, 40, dtype=torch.bool)
    true = float((p.exp() * (p - q)).sum())
    assert true > 0.0
    assert math.isclose(float((p.exp() * rewards.token_kl(p, q, mask)).sum()), true, rel_tol=1e-10)
    assert math.isclose(float((p.exp() * rewards.k3_token_kl(p, q, mask)).sum()), true, rel_tol=1e-10)
    assert bool((rewards.k3_token_kl(p, q, mask) >= 0.0).all())
    assert float(rewards.token_kl(p, p, mask).abs().max()) == 0.0
    assert float(rewards.k3_token_kl(p, p, mask).abs().max()) == 0.0


def test_39_expected_k1_of_a_sequence_is_the_full_kl_of_its_states() -> None:
    """Over all responses of an enumerable model: by sequences, and by next-token distributions state by state."""
    policy, reference = (policy_of(small_tokenizer(), "llama") for _ in range(2))
    responses = all_responses(4, 3)
    mask = responses.response_mask
    with torch.no_grad():
        ours, theirs = (logprobs.response_logprobs(model, responses) for model in (policy, reference))
        probabilities = ours.sum(dim=-1).exp()
        p, q = (next_token_logprobs(model, responses) for model in (policy, reference))
    full = (p.exp() * (p - q)).sum(dim=-1)
    assert float(full[mask].min()) >= 0.0
    expected_full = (probabilities[:, None] * full.masked_fill(~mask, 0.0)).sum()
    expected_k1 = (probabilities * rewards.sequence_kl(ours, theirs, mask)).sum()
    expected_k3 = (probabilities * rewards.k3_token_kl(ours, theirs, mask).sum(dim=-1)).sum()
    assert float(expected_full) > 0.1
    assert math.isclose(float(expected_k1), float(expected_full), rel_tol=1e-4)
    assert math.isclose(float(expected_k3), float(expected_full), rel_tol=1e-4)


def next_token_logprobs(policy: Any, rows: Any) -> Tensor:
    """log pi(. | s_t), [B, R, V]."""
    states = rows.acting_states(trunk.padded_states(policy.base_model, rows.token_rows))
    logits: Tensor = states @ models.lm_head_weight(policy).T
    return logits.log_softmax(dim=-1)


def test_39_the_penalised_rewards_expect_the_score_less_the_exact_kl() -> None:
    policy, reference = (tabular_policy(4, 3, spread=1.0) for _ in range(2))
    responses = all_responses(4, 3)
    with torch.no_grad():
        ours, theirs = (logprobs.response_logprobs(model, responses) for model in (policy, reference))
        exact = exact_kl(*(sequence_logprobs(model, responses) for model in (policy, reference)))
    scores = torch.sin(torch.arange(len(responses), dtype=torch.float32))
    probabilities = ours.sum(dim=-1).exp()
    given = rewards.kl_penalized_rewards(scores, ours, theirs, responses.response_mask, 0.3).sum(dim=-1)
    expected = (probabilities * scores).sum() - 0.3 * exact
    assert math.isclose(float((probabilities * given).sum()), float(expected), abs_tol=1e-5)


def test_39_approx_kl_is_k2_and_never_negative() -> None:
    """Half the mean squared log-ratio: by hand for log-ratios of +-0.2 on valid tokens."""
    state = new_state()
    experience = new_experience(state)
    signs = torch.where(torch.arange(experience.logprobs.numel()).view_as(experience.logprobs) % 2 == 0, 1.0, -1.0)
    statistics = update_metrics.UpdateStatistics()
    statistics.add(experience, experience.logprobs + 0.2 * signs, {"policy": torch.zeros(())}, clip_range=0.2)
    statistics.add_values(experience, experience.values, value_clip_range=0.2)
    statistics.minibatches = 1
    values = update_metrics.UpdateMetrics.of(experience, statistics, kl_coef=0.0).values
    assert math.isclose(values["policy/approx_kl_nats"], 0.02, rel_tol=1e-4)
    assert math.isclose(values["policy/log_ratio_max_nats"], 0.2, rel_tol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_40_token_log_ratios_add_up_to_the_sequences_and_to_its_penalty(architecture: Architecture) -> None:
    """After updates, with the log-probabilities of whole sequences by plain transformers as the oracle."""
    config = config_with(kl_coef=0.3)
    state = new_state(config, architecture)
    ppo.ppo_update(state, PROMPTS, config, HOOKS)
    experience = ppo.collect_experience(state, PROMPTS, config, HOOKS)
    penalty = (experience.scores - experience.rewards.sum(dim=1)) / config.kl_coef
    plain = [sequence_log_ratio(state, experience.rollout, row) for row in range(len(experience))]
    assert float(experience.sequence_kl.abs().min()) > 1e-4
    assert float((experience.sequence_kl - torch.tensor(plain)).abs().max()) <= 1e-4
    assert float((penalty - experience.sequence_kl).abs().max()) <= 1e-5


@torch.no_grad()
def sequence_log_ratio(state: Any, rows: Any, row: int) -> float:
    tokens, length = rows.tokens[row][rows.mask[row]], int(rows.response_lengths[row])
    totals = []
    for model in (state.models.policy, state.models.ref_policy):
        chosen = (model(input_ids=tokens[None]).logits[0, :-1] / CONFIG.temperature).double().log_softmax(-1)
        totals.append(chosen.gather(1, tokens[1:, None])[-length:].sum())
    return float(totals[0] - totals[1])


def test_40_in_double_precision_the_sums_agree_to_a_millionth() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (-5.0 * torch.rand(4, 60, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.arange(60) < torch.tensor([60, 1, 31, 53])[:, None]
    whole = torch.tensor([float((ours[row] - theirs[row])[mask[row]].sum()) for row in range(4)], dtype=torch.float64)
    scores = torch.zeros(4, dtype=torch.float64)
    given = rewards.kl_penalized_rewards(scores, ours, theirs, mask, 0.5)
    assert float((rewards.sequence_kl(ours, theirs, mask) - whole).abs().max()) <= 1e-6
    assert float((rewards.sequence_kl(ours, theirs, mask) + given.sum(dim=1) / 0.5).abs().max()) <= 1e-6
