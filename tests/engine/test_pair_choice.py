"""Which pairs are asked about, against values by hand and sorting by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rlhf_engine.pair_choice import different, margins, most_uncertain, uncertainty

HEAD_SCORES = torch.tensor(
    [[[3.0, 3.0], [1.0, 1.0]], [[0.0, 2.0], [1.0, 1.1]], [[5.0, 1.0], [1.0, 5.0]], [[0.0, 0.0], [0.3, 0.5]]]
)
"""Margins by head: (2, 2), (-1, 0.9), (4, -4), (-0.3, -0.5)."""


def test_near_ties_and_disagreement_by_hand() -> None:
    by_head = margins(HEAD_SCORES)
    assert torch.allclose(uncertainty(by_head, "near_ties"), torch.tensor([-2.0, -0.05, 0.0, -0.4]), atol=1e-6)
    assert torch.allclose(uncertainty(by_head, "disagreement"), torch.tensor([0.0, 0.95, 4.0, 0.1]), atol=1e-6)
    assert most_uncertain(uncertainty(by_head, "near_ties"), 2) == [1, 2]
    assert most_uncertain(uncertainty(by_head, "disagreement"), 3) == [1, 2, 3]
    assert most_uncertain(uncertainty(by_head, "random"), 2) == [0, 1]


def test_a_near_tie_is_where_bradley_terry_knows_least() -> None:
    """The label of a near tie has the largest entropy under the reward model itself."""
    head_margins = torch.randn(50, 1, generator=torch.Generator().manual_seed(0)) * 3
    chances = torch.sigmoid(head_margins[:, 0].double())
    entropies = [-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in chances.tolist()]
    by_entropy = sorted(range(50), key=lambda place: -entropies[place])
    for count in (1, 7, 50):
        assert most_uncertain(uncertainty(head_margins, "near_ties"), count) == sorted(by_entropy[:count])


@pytest.mark.parametrize("count", [0, 3, 9])
def test_no_more_are_chosen_than_there_are(count: int) -> None:
    assert most_uncertain(torch.tensor([0.1, 0.3, 0.2]), count) == list(range(min(count, 3)))


def test_of_two_equal_texts_or_an_empty_one_nobody_is_asked() -> None:
    assert different(["a", "b", "", "c", ""], ["a", "c", "d", "b", ""]) == [1, 3]
