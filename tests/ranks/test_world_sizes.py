"""Two or four ranks train what one does: global meaning stays global, whatever the number of processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from processes import in_ranks
from rlhf_engine.ranks import ALONE, Ranks, deal
from trained import TRAINED, train

TOLERANCE = 1e-9


def assert_alike(a: Any, b: Any, tolerance: float) -> None:
    """Metrics and weights, relative to 1."""
    assert len(a[0]) == len(b[0]) and a[1].keys() == b[1].keys()
    for step, (left, right) in enumerate(zip(a[0], b[0], strict=True)):
        assert left.keys() == right.keys()
        for name in left:
            assert left[name] == pytest.approx(right[name], abs=tolerance, rel=tolerance), (step, name)
    for name in a[1]:
        assert np.abs(a[1][name] - b[1][name]).max() <= tolerance, name


@pytest.mark.parametrize("what", TRAINED)
def test_43_one_two_and_four_ranks_train_alike_for_20_steps(what: str) -> None:
    alone = train(ALONE, what)
    for size in (2, 4):
        by_rank = in_ranks(size, train, what)
        assert_alike(by_rank[0], alone, TOLERANCE)
        for other in by_rank[1:]:
            assert_alike(other, by_rank[0], 0.0)
    assert alone[0][0] != alone[0][-1], "nothing was trained"


@pytest.mark.parametrize("size", [2, 3, 4])
def test_rows_are_dealt_so_that_ranks_have_about_as_many_tokens(size: int) -> None:
    lengths = [int(x) for x in torch.randint(1, 500, (12 * size,), generator=torch.Generator().manual_seed(size))]
    dealt = deal(lengths, size)
    assert sorted(row for rows in dealt for row in rows) == list(range(12 * size))
    assert all(len(rows) == 12 and rows == sorted(rows) for rows in dealt)
    tokens = [sum(lengths[row] for row in rows) for rows in dealt]
    assert max(tokens) - min(tokens) <= max(lengths)


def test_rows_that_cannot_be_dealt_evenly_stand_twice() -> None:
    dealt = deal([5, 1, 9, 4, 2], 2)
    assert [len(rows) for rows in dealt] == [3, 3] and {row for rows in dealt for row in rows} == set(range(5))
    with pytest.raises(ValueError, match="5 rows can't be dealt evenly to 2 ranks"):
        _Two().own([5, 1, 9, 4, 2])


class _Two(Ranks):
    size = 2


def joined_by_rank(ranks: Any) -> list[list[float]]:
    dealt = ranks.dealt([5, 1, 9, 4, 2])
    own = torch.tensor([[10.0 * row] for row in dealt[ranks.rank]])
    return [ranks.joined(own, dealt).flatten().tolist(), ranks.gathered(own[: 1 + ranks.rank]).flatten().tolist()]


def test_joined_rows_stand_in_their_order() -> None:
    for joined, gathered in in_ranks(2, joined_by_rank):
        assert joined == [0.0, 10.0, 20.0, 30.0, 40.0]
        assert len(gathered) == 3
