"""53, 54, 55, and of 58 what belongs to DPO and IPO: losses at the start, their gradients, and where they lead."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest
import torch
from torch import Tensor

from enumerable import (
    TabularModel,
    all_responses,
    bradley_terry_pairs,
    optimal_logprobs,
    sequence_logprobs,
    tabular_policy,
    total_variation,
)
from rlhf_engine.config import IPOConfig, KTOConfig
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.preference_losses import dpo_loss, ipo_loss, kto_loss, kto_reference_point, sequence_logratios
from rlhf_engine.rollout import Rollout

BETAS = [0.05, 0.1, 0.5]
NONE = torch.zeros(5)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("beta", BETAS)
def test_53_dpo_starts_at_ln_2_whatever_the_label_smoothing(beta: float, label_smoothing: float) -> None:
    loss = dpo_loss(NONE, NONE, beta=beta, label_smoothing=label_smoothing)
    assert math.isclose(float(loss), math.log(2), abs_tol=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_53_the_first_gradient_raises_chosen_and_lowers_rejected_alike(beta: float) -> None:
    """-beta / 2 (grad log pi(chosen) - grad log pi(rejected)), on every valid token, in the mean over pairs."""
    policy = tabular_policy(3, 2, spread=1.0)
    responses = all_responses(3, 2)
    logprobs = sequence_logprobs(policy, responses)
    ratios = logprobs - logprobs.detach()
    (gradient,) = torch.autograd.grad(dpo_loss(ratios[:2], ratios[2:4], beta=beta), policy.table, retain_graph=True)
    change = (logprobs[:2] - logprobs[2:4]).mean()
    (expected,) = torch.autograd.grad(-0.5 * beta * change, policy.table)
    assert bool(gradient.any())
    assert torch.allclose(gradient, expected, rtol=0.0, atol=1e-6)


def test_53_a_small_beta_leads_back_to_ln_2() -> None:
    chosen, rejected = torch.randn(8), torch.randn(8)
    far = [abs(float(dpo_loss(chosen, rejected, beta=beta)) - math.log(2)) for beta in (1.0, 1e-3, 1e-7)]
    assert far[0] > far[1] > far[2]
    assert far[2] < 1e-6


def test_53_swapping_a_pair_flips_the_margin() -> None:
    """log sigmoid(-m) - log sigmoid(m) = -m: the loss and that of the swapped pair differ by the margin itself."""
    chosen, rejected = torch.randn(8), torch.randn(8)
    difference = dpo_loss(chosen, rejected, beta=0.3) - dpo_loss(rejected, chosen, beta=0.3)
    assert math.isclose(float(difference), -0.3 * float((chosen - rejected).mean()), abs_tol=1e-6)


def test_53_label_smoothing_is_lowest_where_the_margin_gives_its_share() -> None:
    """sigmoid(margin) = 1 - e: the policy believes a label as much as it may be trusted."""
    margins = torch.tensor([math.log(0.9 / 0.1)], requires_grad=True)
    (gradient,) = torch.autograd.grad(dpo_loss(margins, torch.zeros(1), beta=1.0, label_smoothing=0.1), margins)
    assert float(gradient.abs()) < 1e-6


@pytest.mark.parametrize(("beta", "loss"), [(0.1, 25.0), (0.05, 100.0)])
def test_54_ipo_starts_at_a_quarter_over_beta_squared(beta: float, loss: float) -> None:
    assert math.isclose(float(ipo_loss(NONE, NONE, beta=beta)), loss, rel_tol=1e-6)


def test_54_ipo_is_zero_at_half_over_beta_and_nowhere_else() -> None:
    ratios = torch.linspace(-10, 10, 81)
    losses = torch.stack([ipo_loss(ratio[None], torch.zeros(1), beta=0.1) for ratio in ratios])
    assert float(ratios[losses.argmin()]) == 5.0
    assert float(losses.min()) < 1e-9 < float(losses.sort().values[1])


def test_54_sum_and_mean_of_the_log_ratio_are_declared_and_differ_by_the_length() -> None:
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    logprobs = torch.randn(2, 4).masked_fill(~mask, math.nan)
    total = sequence_logratios(logprobs, torch.zeros(2, 4), mask)
    mean = sequence_logratios(logprobs, torch.zeros(2, 4), mask, reduction="mean")
    assert torch.allclose(total, torch.stack([logprobs[0, :3].sum(), logprobs[1, 0]]), rtol=0.0, atol=1e-6)
    assert torch.allclose(mean, torch.stack([logprobs[0, :3].mean(), logprobs[1, 0]]), rtol=0.0, atol=1e-6)
    assert IPOConfig().ipo_reduction == "sum"


@pytest.mark.parametrize(("desirable", "undesirable"), [(1.0, 1.0), (1.5, 0.5), (0.0, 2.0)])
def test_55_kto_starts_at_half_the_weights(desirable: float, undesirable: float) -> None:
    def loss(wanted: Tensor, unwanted: Tensor) -> float:
        z0 = torch.zeros(())
        weights = {"desirable_weight": desirable, "undesirable_weight": undesirable}
        return float(kto_loss(wanted, unwanted, z0, beta=0.1, count=None, **weights))

    assert (loss(NONE, NONE[:0]), loss(NONE[:0], NONE)) == (desirable / 2, undesirable / 2)
    assert loss(NONE, NONE) == (desirable + undesirable) / 4


def test_55_the_reference_point_is_a_mean_never_negative_and_detached() -> None:
    assert float(kto_reference_point(torch.tensor([3.0, -1.0]))) == 1.0
    assert float(kto_reference_point(torch.tensor([1.0, -3.0]))) == 0.0
    assert not kto_reference_point(torch.tensor([3.0], requires_grad=True)).requires_grad


def test_55_a_response_beyond_the_reference_point_gains_less() -> None:
    """At h = z0 the gradient is -beta / 4 on a desirable response and beta / 4 on an undesirable one, and less away."""
    z0 = torch.tensor(2.0)
    ratios = torch.tensor([2.0, 12.0, -8.0], requires_grad=True)
    (wanted,) = torch.autograd.grad(kto_loss(ratios, NONE[:0], z0, beta=0.5, count=1), ratios)
    (unwanted,) = torch.autograd.grad(kto_loss(NONE[:0], ratios, z0, beta=0.5, count=1), ratios)
    assert torch.allclose(wanted, -unwanted)
    assert math.isclose(float(wanted[0]), -0.125, abs_tol=1e-7)
    assert math.isclose(float(wanted[1]), float(wanted[2]), rel_tol=1e-5)
    assert -0.125 < float(wanted[1]) < 0.0


def test_55_a_batch_of_one_group_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="batch_size"):
        msgspec.convert({"batch_size": 1}, KTOConfig)


def fitted(policy: TabularModel, responses: Rollout, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
    """log pi(y) [N] where L-BFGS finds the smallest loss; `loss_of` maps the log-ratios [N] to a scalar."""
    reference = response_logprobs(policy, responses).detach()
    optimizer = torch.optim.LBFGS(policy.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        ratios = sequence_logratios(response_logprobs(policy, responses), reference, responses.response_mask)
        loss = loss_of(ratios)
        loss.backward()
        return loss

    optimizer.step(closure)
    return sequence_logprobs(policy, responses).detach()


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_58_dpo_on_exact_comparisons_recovers_the_optimum_of_rlhf(beta: float) -> None:
    """pi* ~ pi_ref exp(r / beta), in total variation, from labels alone."""
    policy, responses = tabular_policy(3, 2, spread=0.5), all_responses(3, 2)
    strengths = [1, 2, 3, 3, 1, 2, 1]
    reference = sequence_logprobs(policy, responses).detach()
    pairs = bradley_terry_pairs(strengths)
    optimum = optimal_logprobs(reference, torch.tensor(strengths).log(), beta)
    assert total_variation(reference, optimum) > 0.1
    found = fitted(policy, responses, lambda h: dpo_loss(h[pairs[:, 0]], h[pairs[:, 1]], beta=beta))
    assert total_variation(found, optimum) < 0.02


@pytest.mark.parametrize("tau", [0.2, 1.0])
def test_58_ipo_stays_near_the_reference_where_labels_never_disagree(tau: float) -> None:
    """sigmoid(1 / (2 tau)) from a uniform reference (Azar et al. 2023), where DPO goes to certainty."""
    responses = all_responses(2, 1)
    found = fitted(tabular_policy(2, 1), responses, lambda h: ipo_loss(h[:1], h[1:], beta=tau))
    assert abs(float(found[0].exp()) - 1 / (1 + math.exp(-0.5 / tau))) < 1e-4
    certain = fitted(tabular_policy(2, 1), responses, lambda h: dpo_loss(h[:1], h[1:], beta=tau))
    assert float(certain[0].exp()) > 0.999
