"""Copying, repetition and variety of texts: hand values, definitions tried by enumeration, properties."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from rlhf_engine.eval.text_metrics import (
    coverage_and_density,
    distinct_n,
    edit_distance,
    edit_diversity,
    extractive_fragments,
    most_shared_phrase,
    repetition,
    rouge_n,
)


def test_rouge_1_and_2_by_hand() -> None:
    """ "the cat" is 2 of 3 words and 1 of 2 pairs on one side, 2 of 4 and 1 of 3 on the other."""
    assert rouge_n("the cat sat", "the cat ran off", 1) == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert rouge_n("the cat sat", "the cat ran off", 2) == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))


def test_fragments_are_the_longest_shared_runs() -> None:
    source = "my boss wants me to work on sundays and i want to work from home"
    assert extractive_fragments(source, "Boss wants me to quit; I want to work on mondays") == [4, 4, 1]
    coverage, density = coverage_and_density(source, "Boss wants me to quit; I want to work on mondays")
    assert coverage == pytest.approx(9 / 11)
    assert density == pytest.approx((16 + 16 + 1) / 11)


def test_a_copy_is_covered_whole_and_something_new_not_at_all() -> None:
    source = "one two three four five"
    assert coverage_and_density(source, source) == (1.0, 5.0)
    assert coverage_and_density(source, "six seven") == (0.0, 0.0)
    assert coverage_and_density(source, "") == (0.0, 0.0)


def test_repetition_counts_what_stood_there_before() -> None:
    """Of the five runs of three words, the last two are copies of earlier ones."""
    assert repetition("help me now help me now help") == pytest.approx(2 / 5)
    assert repetition("all words differ here") == 0.0
    assert repetition("too short") == 0.0


def test_distinct_n_by_hand() -> None:
    assert distinct_n(["a b a", "a b"], 1) == pytest.approx(2 / 5)
    assert distinct_n(["a b a", "a b"], 2) == pytest.approx(2 / 3)
    assert distinct_n([], 1) == 0.0


def test_the_phrase_of_most_texts_counts_once_for_each() -> None:
    texts = ["please help me out of this", "so please help me out please help me out", "nothing alike in here"]
    phrase, share = most_shared_phrase(texts)
    assert phrase == "please help me out" and share == pytest.approx(2 / 3)
    assert most_shared_phrase(["short one"]) == ("", 0.0)


def shortest_way(one: str, other: str) -> int:
    """The definition, by trying everything."""
    if not one or not other:
        return len(one) + len(other)
    if one[0] == other[0]:
        return shortest_way(one[1:], other[1:])
    return 1 + min(shortest_way(one[1:], other), shortest_way(one, other[1:]), shortest_way(one[1:], other[1:]))


def test_edit_distance_is_the_fewest_changes() -> None:
    strings = ["".join(letters) for length in range(5) for letters in product("ab", repeat=length)]
    assert all(edit_distance(one, other) == shortest_way(one, other) for one, other in combinations(strings, 2))


def test_edit_diversity_is_none_of_copies_and_all_of_strangers() -> None:
    assert edit_diversity(["the same text"] * 4) == 0.0
    assert edit_diversity(["a b c", "d e f", "g h i"]) == 1.0
    assert edit_diversity(["alone"]) == 0.0
    half = edit_diversity(["a b c d", "a b x y"])
    assert half == pytest.approx(0.5)
