"""The sampler against the distribution function itself, over vocabularies of one block and of many."""

import pytest
import torch
from torch import Tensor

from rlhf_engine.decoding.sampler import BLOCK, choose_tokens, inverse_cdf, keyed_uniforms

VOCABULARIES = [2, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 17]


def random_probabilities(vocabulary: int, rows: int = 1) -> Tensor:
    """Over many orders of magnitude, some exactly 0."""
    logits = torch.randn(rows, vocabulary) * 4
    logits[:, 1:].masked_fill_(torch.rand(rows, vocabulary - 1) < 0.3, -torch.inf)
    return logits.softmax(dim=-1)


def plain_inverse_cdf(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """By one cumulative sum over the vocabulary, fp64."""
    cumulative = probabilities.double().cumsum(dim=-1)
    return torch.searchsorted(cumulative, (uniforms * cumulative[:, -1])[:, None], right=True).squeeze(1)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_tokens_are_those_of_one_cumulative_sum_but_at_its_steps(vocabulary: int) -> None:
    torch.manual_seed(vocabulary)
    probabilities = random_probabilities(vocabulary, rows=4000)
    uniforms = keyed_uniforms(5, range(4000), 1)[:, 0]
    tokens, plain = inverse_cdf(probabilities, uniforms), plain_inverse_cdf(probabilities, uniforms)
    cumulative = probabilities.double().cumsum(dim=-1) / probabilities.double().sum(dim=-1, keepdim=True)
    from_a_step = (cumulative - uniforms[:, None]).abs().amin(dim=-1)
    assert torch.equal(tokens[from_a_step > 1e-6], plain[from_a_step > 1e-6])
    assert int((from_a_step > 1e-6).sum()) > 3900


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_the_ends_of_the_interval_are_tokens_that_can_be(vocabulary: int) -> None:
    torch.manual_seed(vocabulary)
    probabilities = random_probabilities(vocabulary, rows=200)
    for uniform in (0.0, 1.0 - 2.0**-53):
        tokens = inverse_cdf(probabilities, torch.full((200,), uniform, dtype=torch.float64))
        assert bool((probabilities.gather(1, tokens[:, None]) > 0).all())


def test_frequencies_over_a_large_vocabulary_are_the_probabilities() -> None:
    """Chi-square over 1000 tokens with at least five expected draws each."""
    torch.manual_seed(0)
    vocabulary, draws = 1000, 50_000
    logits = torch.randn(vocabulary) * 0.5
    uniforms = keyed_uniforms(1, range(draws), 1)[:, 0]
    counts = torch.zeros(vocabulary)
    for part in uniforms.split(5000):
        counts += choose_tokens(logits.expand(len(part), -1), part, 1.0).bincount(minlength=vocabulary)
    expected = logits.softmax(-1) * draws
    assert float(expected.min()) > 5
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi_square - (vocabulary - 1)) < 3.3 * (2 * (vocabulary - 1)) ** 0.5


def test_a_model_that_has_broken_gives_tokens_of_the_vocabulary() -> None:
    tokens = choose_tokens(torch.full((3, 300), torch.nan), torch.tensor([0.0, 0.5, 0.9], dtype=torch.float64), 1.0)
    assert bool(((tokens >= 0) & (tokens < 300)).all())
