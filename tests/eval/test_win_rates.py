"""Win rates, agreement and length control: hand values, enumeration, simulation, and figures that others published."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from rlhf_engine.eval.agreement import agreement, cohens_kappa
from rlhf_engine.eval.length_control import by_length_ratio, length_controlled
from rlhf_engine.eval.pairwise import (
    Answer,
    Choice,
    detectable_difference,
    outcomes,
    position_bias,
    sign_test,
    win_rate_of,
)

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data beside the checkout")


def rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name, "rt") as lines:
        return [json.loads(line) for line in lines]


def both_orders(*choices: tuple[Choice | None, Choice | None]) -> list[Answer]:
    """Each pair asked with the policy's text first, then with it second."""
    return [
        Answer(pair, own, choice)
        for pair, two in enumerate(choices)
        for own, choice in zip((True, False), two, strict=True)
    ]


def test_an_answer_counts_only_where_both_orders_agree() -> None:
    answers = both_orders(
        ("first", "second"), ("second", "first"), ("first", "first"), ("tie", "tie"), ("first", "tie"), ("first", None)
    )
    assert outcomes(answers, 7) == [1.0, 0.0, 0.5, 0.5, 0.5, None, None]


def test_a_judge_that_always_names_the_first_has_a_rate_of_one_half_and_is_seen() -> None:
    always: tuple[Choice, Choice] = ("first", "first")
    answers = both_orders(*[always] * 40)
    found = win_rate_of(outcomes(answers, 40), range(40), resamples=100, seed=0)
    assert found is not None and (found.rate.mean, found.wins, found.ties, found.losses) == (0.5, 0, 40, 0)
    bias = position_bias(answers)
    assert (bias.rate_shown_first, bias.rate_shown_second, bias.first_share, bias.consistent_share) == (1, 0, 1, 0)


def test_without_a_vote_there_is_no_rate() -> None:
    assert win_rate_of([None, None], ["a", "b"], resamples=100, seed=0) is None
    assert position_bias([Answer(0, True, None)]).first_share is None


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (5, 0), (7, 3), (3, 7), (6, 6), (1, 9)])
def test_the_sign_test_is_the_share_of_coin_throws_at_least_as_uneven(wins: int, losses: int) -> None:
    throws = range(2 ** (wins + losses))
    uneven = sum(abs(2 * throw.bit_count() - wins - losses) >= abs(wins - losses) for throw in throws)
    assert sign_test(wins, losses) == pytest.approx(uneven / len(throws))


def test_a_detectable_difference_is_found_in_four_of_five_trials() -> None:
    values = [0.0, 1.0] * 200
    distance, error = detectable_difference(values), 0.5 / len(values) ** 0.5
    power = 1 - NormalDist(distance, error).cdf(1.96 * error)
    assert power == pytest.approx(0.8, abs=0.005)


def test_kappa_of_a_table_by_hand() -> None:
    """Cohen's formula on 20, 5, 10, 15: observed .7, chance .5."""
    assert cohens_kappa(np.array([[20.0, 5.0], [10.0, 15.0]])) == pytest.approx(0.4)
    assert np.isnan(cohens_kappa(np.array([[4.0]])))


def test_agreement_leaves_out_what_one_of_them_did_not_label() -> None:
    found = agreement([1, 1, 2, None, 2], [1, 2, 2, 1, None], "abcde", resamples=200, seed=0)
    assert found is not None
    assert (found.count, found.left_out) == (3, 2)
    assert found.accuracy.mean == pytest.approx(2 / 3)
    assert found.accuracy.low <= found.accuracy.mean <= found.accuracy.high
    assert agreement([None], [1], "a", resamples=100, seed=0) is None


def test_copies_of_one_prompt_make_nobody_surer() -> None:
    """Ten copies of each row in its own cluster: the interval is as wide as that of the rows."""
    ours, theirs = [1, 1, 2, 2, 1, 2] * 4, [1, 2, 2, 1, 1, 2] * 4
    once = agreement(ours, theirs, range(24), resamples=400, seed=1)
    copied = agreement(ours * 10, theirs * 10, [*range(24)] * 10, resamples=400, seed=1)
    assert once is not None and copied is not None and once.kappa == copied.kappa


LONGER = np.random.default_rng(7).normal(8.0, 15.0, size=400).round()


def biased_judge(seed: int, at_equal_length: float, liking: float) -> list[float]:
    """Credits of a judge whose logit rises by `liking` tanh(extra words / spread)."""
    rng = np.random.default_rng(seed)
    logits = np.log(at_equal_length / (1 - at_equal_length)) + liking * np.tanh(LONGER / LONGER.std())
    won = rng.random(len(LONGER)) < 1 / (1 + np.exp(-logits))
    return [float(credit) for credit in won]


def controlled(credits: Sequence[float]) -> Any:
    lengths = 40 + LONGER.astype(int)
    return length_controlled(credits, lengths.tolist(), [40] * len(credits), range(len(credits)))


@pytest.mark.parametrize("truth", [0.5, 0.65])
def test_length_control_recovers_the_rate_at_equal_length_in_95_of_100_simulations(truth: float) -> None:
    found = [controlled(biased_judge(seed, truth, liking=1.5)).rate for seed in range(400)]
    covered = np.mean([rate.low <= truth <= rate.high for rate in found])
    assert 0.925 <= covered <= 0.975
    assert np.mean([rate.mean for rate in found]) == pytest.approx(truth, abs=0.01)
    assert np.mean([np.mean(biased_judge(seed, truth, liking=1.5)) for seed in range(400)]) > truth + 0.05


def test_length_control_of_one_that_always_wins_stays_finite() -> None:
    found = controlled([1.0] * len(LONGER))
    assert 0.98 < found.rate.mean < 1 and np.isfinite(found.length_weight)


def test_the_curve_by_length_shows_who_likes_length() -> None:
    credits = [float(longer > 0) for longer in LONGER]
    lengths = (40 + np.maximum(LONGER, -39)).astype(int).tolist()
    bins = by_length_ratio(credits, lengths, [40] * len(credits), range(len(credits)), bins=5, resamples=100, seed=0)
    assert sum(part.count for part in bins) == len(credits)
    assert [part.low for part in bins] == sorted(part.low for part in bins)
    assert bins[0].rate.mean == 0 and bins[-1].rate.mean == 1


@needs_data
def test_gpt4_on_the_policy_of_openai() -> None:
    """64.0 % wins, 71.6 % of those shown first, 55.8 % of those shown second (1,000 verdicts, one order each)."""
    judged = [row for row in rows("tldr_judged/openai_ppo_vs_reference_gpt4.jsonl.gz") if row["preferred"]]
    answers = []
    for pair, row in enumerate(judged):
        choice: Choice = "first" if row["preferred"] == row["shown_first"] else "second"
        answers.append(Answer(pair, row["shown_first"] == "model", choice))
    posts = [row["post_id"] for row in judged]
    found, bias = win_rate_of(outcomes(answers, len(judged)), posts, resamples=500, seed=0), position_bias(answers)
    assert found is not None and found.rate.mean == pytest.approx(0.640)
    assert bias.rate_shown_first == pytest.approx(0.716, abs=5e-4)
    assert bias.rate_shown_second == pytest.approx(0.558, abs=5e-4)
    assert found.rate.low > 0.6 and found.p_value < 1e-6 and found.detectable == pytest.approx(0.0425, abs=5e-4)


@needs_data
def test_dove_in_both_orders() -> None:
    """293 wins, 61 losses, 146 where the two orders differ: ties."""
    judged = rows("tldr_judged/dove_vs_reference_gpt35.jsonl.gz")
    turned: dict[str, tuple[Choice, Choice]] = {
        "model": ("first", "second"),
        "reference": ("second", "first"),
        "tie": ("first", "first"),
    }
    answers = both_orders(*[turned[row["preferred"]] for row in judged])
    found = win_rate_of(outcomes(answers, 500), [row["post_id"] for row in judged], resamples=500, seed=0)
    assert found is not None and (found.wins, found.losses, found.ties) == (293, 61, 146)
    assert found.rate.mean == pytest.approx((293 + 73) / 500)


@needs_data
def test_gpt4_with_the_vanilla_prompt_on_llmbar() -> None:
    """84.5 % agreement with people over both orders of the 419, 92.8 % of them the same when turned."""
    items = [row for row in rows("judge_human/llmbar.jsonl.gz") if row["set"].startswith("LLMBar")]
    assert len(items) == 419
    verdicts = [row["judges"]["GPT-4/Vanilla"] for row in items]
    theirs = [verdict[order] for order in (0, 1) for verdict in verdicts]
    found = agreement(theirs, [row["human"] for row in items] * 2, [*range(419)] * 2, resamples=300, seed=0)
    assert found is not None and found.accuracy.mean == pytest.approx(0.845, abs=5e-4)
    answers = both_orders(*[("first" if a == 1 else "second", "second" if b == 1 else "first") for a, b in verdicts])
    assert position_bias(answers).consistent_share == pytest.approx(0.928, abs=5e-4)


@needs_data
def test_people_and_gpt35_on_pandalm() -> None:
    """Two people agree on 92.0 %; GPT-3.5 with most of them on 73.9 % of 936 that could be read, 69.3 % of all."""
    items = rows("judge_human/pandalm_999.jsonl.gz")
    pairs = [two for row in items for two in combinations(row["annotators"], 2)]
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    people = agreement(one, other, [row // 3 for row in range(len(pairs))], resamples=200, seed=0)
    assert people is not None and people.accuracy.mean == pytest.approx(0.920, abs=5e-4)
    majority = [Counter(row["annotators"]).most_common(1)[0][0] for row in items]
    judge = agreement([row["judges"]["gpt-3.5-turbo"] for row in items], majority, range(999), resamples=200, seed=0)
    assert judge is not None and (judge.count, judge.left_out) == (936, 63)
    assert judge.accuracy.mean == pytest.approx(0.739, abs=5e-4)
    assert judge.accuracy.mean * 936 / 999 == pytest.approx(0.693, abs=5e-4)


@needs_data
def test_people_who_rate_and_people_who_choose() -> None:
    """Where the mean ratings of two summaries differ, the choice goes with the higher one 419 times of 572."""
    items = rows("tldr_human_ratings/pairs_with_worker.jsonl.gz")
    rated = [row["axis_overall_mean"] for row in items]
    higher = [None if None in means or means[0] == means[1] else int(means[1] > means[0]) for means in rated]
    posts = [row["post_id"] for row in items]
    found = agreement([row["choice"] for row in items], higher, posts, resamples=300, seed=0)
    assert found is not None and found.count == 572
    assert found.accuracy.mean == pytest.approx(419 / 572)
    assert found.kappa.low > 0.3
