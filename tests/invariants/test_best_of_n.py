"""60: the best of n against brute force, and its KL against the bound, on distributions that can be summed."""

from __future__ import annotations

import math
from itertools import combinations, product

import pytest
import torch
from torch import Tensor

from enumerable import all_responses, exact_kl, sequence_logprobs, tabular_policy
from rlhf_engine.eval.best_of_n import expected_best, gain_at, gains_by_n, kl_bound_nats


def noise(count: int, seed: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_60_the_estimate_is_the_mean_over_all_subsets(n: int) -> None:
    scores, gains = noise(7, 0), noise(7, 1)
    best = [float(gains[max(chosen, key=lambda i: float(scores[i]))]) for chosen in combinations(range(7), n)]
    assert float(expected_best(scores, gains, n)) == pytest.approx(sum(best) / len(best), abs=1e-12)


def test_60_the_estimate_is_unbiased() -> None:
    """Over every possible draw of 4 from 3 outcomes its mean is E[best of 2] exactly."""
    shares, scores = [0.5, 0.3, 0.2], [1.0, 2.0, 4.0]
    estimates = sum(
        math.prod(shares[i] for i in draw) * float(expected_best(*(torch.tensor([scores[i] for i in draw]),) * 2, 2))
        for draw in product(range(3), repeat=4)
    )
    expected = sum(shares[i] * shares[j] * max(scores[i], scores[j]) for i, j in product(range(3), repeat=2))
    assert estimates == pytest.approx(expected, abs=1e-12)


def test_60_more_asked_for_than_there_are_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="best of 4 can't be estimated from 3"):
        expected_best(noise(3, 0), noise(3, 0), 4)


def best_of_n_logprobs(logprobs: Tensor, scores: Tensor, n: int) -> Tensor:
    """log probability of each response as the best of n, [N]: P(all at most as good)^n - P(all worse)^n; no ties."""
    order = scores.argsort()
    at_most = logprobs[order].exp().cumsum(dim=0)
    worse = torch.cat([at_most.new_zeros(1), at_most[:-1]])
    best = torch.empty_like(logprobs)
    best[order] = (at_most**n - worse**n).log()
    return best


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_60_the_bound_holds_on_an_enumerable_model(n: int) -> None:
    responses = all_responses(5, 4)
    with torch.no_grad():
        logprobs = sequence_logprobs(tabular_policy(5, 4, spread=1.0), responses).double()
    best = best_of_n_logprobs(logprobs, noise(len(logprobs), 0), n)
    assert float(best.exp().sum()) == pytest.approx(1.0, abs=1e-5)
    assert -1e-5 <= float(exact_kl(best, logprobs)) <= kl_bound_nats(n) + 1e-5


@pytest.mark.parametrize("n", [2, 4, 16])
def test_60_the_bound_is_reached_where_no_response_has_much_probability(n: int) -> None:
    logprobs = torch.full((200_000,), -math.log(200_000), dtype=torch.float64)
    best = best_of_n_logprobs(logprobs, torch.arange(200_000.0), n)
    assert float(exact_kl(best, logprobs)) == pytest.approx(kl_bound_nats(n), abs=1e-3)


def test_60_the_bound_is_far_off_where_one_response_has_nearly_all_probability() -> None:
    logprobs = torch.tensor([0.99, 0.01], dtype=torch.float64).log()
    assert float(exact_kl(best_of_n_logprobs(logprobs, torch.tensor([1.0, 0.0]), 4), logprobs)) < 0.1 * kl_bound_nats(4)


@pytest.mark.parametrize("n", [2, 4, 16])
def test_60_the_gain_at_a_kl_is_the_exact_one_without_ties(n: int) -> None:
    """Uniform outcomes with score = gain = rank: E[best of n] = n / (n + 1), at a true KL that the bound reaches."""
    count = 20_000
    logprobs, ranks = torch.full((count,), -math.log(count), dtype=torch.float64), torch.arange(1.0, count + 1) / count
    best = best_of_n_logprobs(logprobs, ranks, n)
    true_gain, true_kl = float((best.exp() * ranks).sum()), float(exact_kl(best, logprobs))
    by_n = [size / (size + 1) for size in range(1, 33)]
    found = gain_at(by_n, true_kl)
    assert found == pytest.approx(true_gain, abs=1e-3) and true_gain == pytest.approx(n / (n + 1), abs=1e-3)


def test_60_between_whole_n_the_gain_is_straight_and_beyond_the_last_there_is_none() -> None:
    middle = (kl_bound_nats(2) + kl_bound_nats(3)) / 2
    assert gain_at([1.0, 2.0, 3.0], middle) == pytest.approx(2.5)
    assert gain_at([1.0, 2.0, 3.0], -0.1) == 1.0
    assert gain_at([1.0, 2.0, 3.0], kl_bound_nats(3) + 1e-9) is None


def test_60_gains_are_of_each_prompt_alone() -> None:
    scores, gains = noise(8, 2).view(4, 2), noise(8, 3).view(4, 2)
    expected = [[float(expected_best(scores[:, i], gains[:, i], n)) for n in range(1, 5)] for i in range(2)]
    assert gains_by_n(scores, gains) == expected
    assert expected[1][3] == pytest.approx(float(gains[scores[:, 1].argmax(), 1]))
