"""Held-out figures and the probe: each rank does its share of the rows, and all get what one process gets."""

from __future__ import annotations

import pytest

from evaluated import evaluate
from processes import in_ranks
from rlhf_engine.config import ShardingConfig
from rlhf_engine.ranks import ALONE
from trained import Setting

TOLERANCE = 1e-9
WHOLE, SHARDED = Setting(), Setting(sharding=ShardingConfig(model="zero-3"))


def test_what_one_two_and_four_ranks_measure_is_the_same() -> None:
    alone = evaluate(ALONE, WHOLE)
    for size, setting in ((2, WHOLE), (4, WHOLE), (2, SHARDED)):
        by_rank = in_ranks(size, evaluate, setting)
        for what, (figures, tokens) in alone.items():
            assert by_rank[0][what][0] == pytest.approx(figures, abs=TOLERANCE, rel=TOLERANCE), what
            assert all(found[what][0] == by_rank[0][what][0] for found in by_rank), what
            assert sum(found[what][1] for found in by_rank) < 1.5 * tokens, f"{what}: not shared"
    assert alone["preferences"][0][0] > 0.0, "KTO's z0 says nothing where it is cut off"
    assert len(set(alone["probe"][0])) > 10, "these figures could hardly differ"
