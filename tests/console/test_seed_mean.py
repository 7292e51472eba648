"""Means over seeds, step by step: by hand, with runs that log at other steps or end early, and in any pieces."""

from __future__ import annotations

import math
import random

import pytest

from rlhf_console.runs.seed_groups import without_seeds
from rlhf_console.runs.seed_mean import SeedMean, Track

T2, T1 = 4.302653, 12.706205


def track(values: dict[int, float], revision: int = 1) -> Track:
    steps = sorted(values)
    return Track(steps, [10.0 * step for step in steps], [values[step] for step in steps], revision)


def mean_of(*tracks: Track) -> SeedMean:
    mean = SeedMean()
    mean.follow(tracks)
    return mean


def test_the_interval_of_three_seeds_by_hand() -> None:
    mean = mean_of(*(track({1: 1.0 + seed, 2: 5.0}) for seed in range(3)))
    assert list(mean.means) == [2.0, 5.0] and list(mean.counts) == [3, 3] and list(mean.xs) == [10.0, 20.0]
    assert mean.high[0] - 2.0 == pytest.approx(T2 / math.sqrt(3)) and mean.low[0] + mean.high[0] == pytest.approx(4.0)
    assert (mean.low[1], mean.high[1]) == (5.0, 5.0)


def test_a_run_stands_with_its_last_value_between_its_first_and_last_step() -> None:
    mean = mean_of(track({1: 0.0, 3: 4.0}), track({2: 10.0, 3: 20.0, 4: 30.0}))
    assert list(mean.steps) == [1, 2, 3, 4]
    assert list(mean.means) == [0.0, (0.0 + 10.0) / 2, (4.0 + 20.0) / 2, 30.0]
    assert list(mean.counts) == [1, 2, 2, 1] and math.isnan(mean.low[0]) and math.isnan(mean.high[3])
    assert mean.high[1] - 5.0 == pytest.approx(T1 * math.sqrt(50.0 / 2))
    assert list(mean.xs) == [10.0, 15.0, 30.0, 40.0]


def test_a_value_that_is_not_finite_leaves_no_mean() -> None:
    mean = mean_of(track({1: math.nan, 2: 1.0}), track({1: 1.0, 2: math.inf}))
    assert all(map(math.isnan, [*mean.means, *mean.low, *mean.high])) and list(mean.counts) == [2, 2]


def test_what_came_in_pieces_is_what_comes_at_once() -> None:
    draw = random.Random(4)
    for _ in range(30):
        whole = [{step: draw.random() for step in range(1, 40) if draw.random() < 0.6} for _ in range(3)]
        growing, seen = SeedMean(), [0, 0, 0]
        for _ in range(12):
            seen = [count + draw.randrange(8) for count in seen]
            growing.follow([track(dict(list(run.items())[:count])) for run, count in zip(whole, seen, strict=True)])
        shown = [dict(list(run.items())[:count]) for run, count in zip(whole, seen, strict=True)]
        once = mean_of(*map(track, shown))
        for name in ("steps", "xs", "means", "counts"):
            assert list(getattr(growing, name)) == list(getattr(once, name)), name
        assert repr([growing.low, growing.high]) == repr([once.low, once.high])


def test_growth_at_the_end_keeps_the_revision_and_anything_else_does_not() -> None:
    mean = SeedMean()
    revisions = []
    for values in ({1: 1.0}, {1: 1.0, 2: 2.0}):
        mean.follow([track(values), track(values)])
        revisions.append(mean.revision)
    mean.follow([track({1: 1.0, 2: 2.0, 3: 3.0}), track({1: 1.0, 2: 2.0})])
    assert {*revisions, mean.revision} == {revisions[0]}
    mean.follow([track({1: 1.0, 2: 2.0, 3: 3.0}), track({1: 1.0, 2: 2.0, 3: 5.0})])
    assert mean.revision != revisions[0] and list(mean.means) == [1.0, 2.0, 4.0]
    mean.follow([track({1: 7.0}, revision=2), track({1: 1.0, 2: 2.0, 3: 5.0})])
    assert list(mean.means) == [4.0, 2.0, 5.0] and list(mean.counts) == [2, 1, 1]


def test_configs_are_compared_without_their_seeds() -> None:
    one = {"seed": 1, "stages": {"sft": {"config": {"seed": 1, "lr": 0.1}}}}
    other = {"seed": 2, "stages": {"sft": {"config": {"seed": 7, "lr": 0.1}}}}
    assert without_seeds(one) == without_seeds(other) == {"stages": {"sft": {"config": {"lr": 0.1}}}}
