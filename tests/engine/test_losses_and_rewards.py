import math

import torch

from rlhf_engine.losses import next_token_loss, pairwise_loss

ONE = torch.ones(1, 1, dtype=torch.bool)


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
