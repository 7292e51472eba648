"""Hand values, and the interval's coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from rlhf_engine.eval.intervals import mean_interval, wins
from rlhf_engine.eval.text_metrics import rouge_l, title_copying, words


def test_rouge_l_by_hand() -> None:
    # The common subsequence "police kill" has 2 of 4 and 2 of 3 words: F1 = 2 * (1/2 * 2/3) / (1/2 + 2/3).
    assert rouge_l("police killed the gunman", "police kill gunmen") == pytest.approx(4 / 7)
    assert rouge_l("the cat sat", "the cat sat") == 1.0
    assert rouge_l("the cat sat", "") == 0.0


def test_title_copying_is_the_longest_run_of_words() -> None:
    title = "My dog won't eat his food"
    assert title_copying(title, "so my dog won't EAT, his owner says") == pytest.approx(5 / 6)
    assert title_copying(title, "his dog won't eat my food") == pytest.approx(3 / 6)
    assert title_copying(title, "nothing shared here") == 0.0
    assert title_copying("", "whatever") == 0.0


def test_words_drop_case_and_punctuation() -> None:
    assert words("I'm 22, (F) -- he_llo!") == ["i'm", "22", "f", "he", "llo"]


def test_ties_count_one_half() -> None:
    assert wins([2.0, 1.0, 0.0], [1.0, 1.0, 1.0]).tolist() == [1.0, 0.5, 0.0]


def test_the_interval_depends_on_the_seed_alone() -> None:
    values, clusters = np.arange(20.0), range(20)
    first, again = (mean_interval(values, clusters, resamples=200, seed=3) for _ in range(2))
    assert first == again
    assert first != mean_interval(values, clusters, resamples=200, seed=4)


def test_coverage_is_near_the_nominal_one() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        interval = mean_interval(rng.normal(1.0, 2.0, 60), range(60), resamples=300, seed=seed)
        covered += interval.low <= 1.0 <= interval.high
    # The percentile interval of 60 values covers a little less than 95 %; 3 standard errors of 300 trials are 4 %.
    assert 0.90 <= covered / 300 <= 0.98


def test_correlated_clusters_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    posts = np.repeat(np.arange(50), 10)
    values = rng.normal(size=50)[posts] + 0.1 * rng.normal(size=500)
    clustered = mean_interval(values, posts.tolist(), resamples=500, seed=0)
    naive = mean_interval(values, range(500), resamples=500, seed=0)
    assert clustered.mean == pytest.approx(naive.mean)
    # Ten nearly equal values count as one: the interval is wider by about the root of ten.
    assert 2.2 < (clustered.high - clustered.low) / (naive.high - naive.low) < 4.2


def test_a_larger_cluster_weighs_more_in_the_mean() -> None:
    assert mean_interval([1.0, 1.0, 1.0, 0.0], "aaab", resamples=100, seed=0).mean == 0.75


def test_no_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean_interval([], [], resamples=100, seed=0)
