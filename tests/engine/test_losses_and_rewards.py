import math

import pytest
import torch

from rlhf_engine.losses import clipped_policy_loss, clipped_value_loss, next_token_loss, pairwise_loss

ONE = torch.ones(1, 1, dtype=torch.bool)


@pytest.mark.parametrize(
    ("advantage", "ratio", "flows"),
    [(1.0, 1.3, False), (1.0, 0.7, True), (-1.0, 0.7, False), (-1.0, 1.3, True), (1.0, 1.1, True), (-1.0, 0.9, True)],
)
def test_gradient_is_cut_exactly_where_the_clip_says(advantage: float, ratio: float, flows: bool) -> None:
    logprobs = torch.tensor([[math.log(ratio)]], requires_grad=True)
    loss = clipped_policy_loss(logprobs, torch.zeros(1, 1), torch.tensor([[advantage]]), ONE, clip_range=0.2)
    loss.backward()
    assert logprobs.grad is not None
    expected = -advantage * ratio if flows else 0.0
    assert math.isclose(float(logprobs.grad), expected, abs_tol=1e-6)


def test_value_loss_is_half_the_larger_squared_error() -> None:
    values, old, returns = (torch.tensor([[x]]) for x in (1.0, 0.0, 2.0))
    loss = clipped_value_loss(values, old, returns, ONE, value_clip_range=0.2)
    assert math.isclose(float(loss), 0.5 * 1.8**2, rel_tol=1e-6)
    inside = clipped_value_loss(torch.tensor([[0.1]]), old, returns, ONE, value_clip_range=0.2)
    assert math.isclose(float(inside), 0.5 * 1.9**2, rel_tol=1e-6)


def test_pairwise_loss_is_ln_2_at_ties_and_invariant_under_shifts() -> None:
    scores = torch.randn(4), torch.randn(4)
    assert math.isclose(float(pairwise_loss(scores[0], scores[0])), math.log(2), rel_tol=1e-6)
    shifted = pairwise_loss(scores[0] + 3, scores[1] + 3)
    assert torch.allclose(pairwise_loss(*scores), shifted, atol=1e-6)
    difference = pairwise_loss(*scores) - pairwise_loss(scores[1], scores[0])
    assert torch.allclose(difference, (scores[1] - scores[0]).mean(), atol=1e-6)


def test_next_token_loss_of_a_uniform_model_is_ln_v() -> None:
    logprobs = torch.full((2, 3), -math.log(50)).masked_fill(torch.tensor([[False] * 3, [False, True, True]]), math.nan)
    mask = torch.tensor([[True] * 3, [True, False, False]])
    assert math.isclose(float(next_token_loss(logprobs, mask)), math.log(50), rel_tol=1e-6)
