"""What ranks really hold and send in an update, counted in bytes, is what the plan says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.plan_ranks import OneRank, RankedCase, is_word, observe
from benchmarks.plan_updates import UPDATES
from benchmarks.tiny_models import saved_models
from processes import in_ranks
from rlhf_engine.ranks import ALONE, Ranks

CASES = {
    2: [
        RankedCase("PPO shared_trunk", "gpt_neox", 2, "ddp"),
        RankedCase("SFT, LoRA", "gpt2", 2, "zero-3"),
        RankedCase("PPO separate", "llama", 2, "zero-2"),
        RankedCase("PPO separate", "gpt_neox", 2, "zero-3"),
    ],
    4: [RankedCase("PPO shared_trunk", "gpt2", 4, "zero-1")],
}
SMALL_WORDS = 100
"""Bytes for each of what ranks tell one another beside weights, gradients and rows: some numbers."""


def observed(ranks: Ranks, cases: list[RankedCase], folders: list[Path]) -> list[OneRank]:
    return [observe(ranks, case, folder, memory=False) for case, folder in zip(cases, folders, strict=True)]


@pytest.mark.parametrize("size", CASES)
def test_a_rank_holds_and_sends_what_its_plan_says(size: int, tmp_path: Path) -> None:
    cases = CASES[size]
    assert {case.trainer for case in cases} <= UPDATES.keys()
    folders = [_saved(case, tmp_path / str(number)) for number, case in enumerate(cases)]
    by_rank = in_ranks(size, observed, cases, folders)
    for number, case in enumerate(cases):
        for rank, found in enumerate(ranks[number] for ranks in by_rank):
            words = {key: found.sent.pop(key) for key in list(found.sent) if is_word(*key)}
            assert found.sent == found.planned_sent, (case.name, rank)
            assert all(count < SMALL_WORDS * size * 2 for count in words.values()), (case.name, words)
            if case.sharding != "zero-1":
                assert found.held == found.planned_held, (case.name, rank)
        _check_dealt_moments(case, [ranks[number] for ranks in by_rank])


def _check_dealt_moments(case: RankedCase, ranks: list[OneRank]) -> None:
    """The plan is of the rank that has most."""
    for role in ranks[0].planned_held:
        planned = [found.planned_held[role].get("moments", 0) for found in ranks]
        assert max(found.held[role].get("moments", 0) for found in ranks) == planned[0] == max(planned), case.name


def _saved(case: RankedCase, folder: Path) -> Path:
    """Models that outlive the call."""
    alone = case.of(ALONE)
    with saved_models(alone.init, alone.size.vocabulary, alone.heads) as made:
        made.rename(folder)
        made.mkdir()
    return folder
