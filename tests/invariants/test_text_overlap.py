"""64: ROUGE-L and copying of the title, against the package, values by hand, and the definition."""

from __future__ import annotations

from itertools import combinations

import pytest
from rouge_score.rouge_scorer import RougeScorer

from rlhf_engine.eval.text_metrics import rouge_l, title_copying, words

PAIRS = [
    ("my cat ran away and I am sad", "the cat ran off, I am sad now"),
    ("police killed the gunman", "police kill gunmen"),
    ("we moved to a new town", "nothing in common here"),
    ("a b c d e f", "f e d c b a"),
    ("one two three", "one two three"),
]


def longest_common_subsequence(left: list[str], right: list[str]) -> int:
    """By trying every subsequence of `left`, the longest first."""
    for length in range(len(left), 0, -1):
        for chosen in combinations(left, length):
            rest = iter(right)
            if all(word in rest for word in chosen):
                return length
    return 0


@pytest.mark.parametrize(("reference", "response"), PAIRS)
def test_64_rouge_l_is_the_packages(reference: str, response: str) -> None:
    golden = RougeScorer(["rougeL"], use_stemmer=True).score(reference, response)["rougeL"]
    assert rouge_l(reference, response) == golden.fmeasure


@pytest.mark.parametrize(("reference", "response"), PAIRS[2:])
def test_64_rouge_l_is_the_f1_of_the_longest_common_subsequence(reference: str, response: str) -> None:
    left, right = reference.split(), response.split()
    common = longest_common_subsequence(left, right)
    precision, recall = common / len(right), common / len(left)
    expected = 2 * precision * recall / (precision + recall) if common else 0.0
    assert rouge_l(reference, response) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("title", ["my cat ran away", "Help!", "I'm 22 (F) and my dad's angry"])
def test_64_a_title_copied_word_for_word_counts_1_and_disjoint_words_0(title: str) -> None:
    assert title_copying(title, f"well, {title.upper()} and so on") == 1.0
    assert title_copying(title, "zebra quilt") == 0.0


def test_64_title_copying_is_the_longest_common_run() -> None:
    """By trying every run of the title's words."""
    title, response = "a b c d e", "x b c y c d e z"
    runs = [title.split()[start:end] for start in range(5) for end in range(start + 1, 6)]
    found = [len(run) for run in runs if " ".join(run) in " ".join(words(response))]
    assert title_copying(title, response) == max(found) / 5 == 3 / 5
