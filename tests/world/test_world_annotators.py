"""Annotators: closed forms for one label, measured agreement for many."""

import json
import math
import random
from itertools import combinations
from statistics import mean

import pytest

from rlhf_engine.data.world import (
    Annotators,
    Post,
    generate_posts,
    gold_score,
    group_candidates,
    ideal_summary,
    label_group,
    title_overlap,
    write_reference,
)
from rlhf_engine.data.world.parsing import parse

POST = generate_posts(1, seed=1)[0]
IDEAL = ideal_summary(POST)
SHORT = f"my {POST.who} {POST.problem} ."
READERS = Annotators(flip_share=0.0, skimmer_share=0.0)


def test_a_reader_is_a_logistic_of_the_gold_difference() -> None:
    assert gold_score(POST, IDEAL) - gold_score(POST, SHORT) == 3.0
    assert READERS.probability_first(POST, IDEAL, SHORT) == pytest.approx(1 / (1 + math.exp(-3.0 / 0.7)))
    assert READERS.probability_first(POST, IDEAL, IDEAL) == 0.5


def test_a_skimmer_sees_only_words_of_the_title() -> None:
    skimmers = Annotators(flip_share=0.0, skimmer_share=1.0)
    assert title_overlap(POST, POST.title) == 1.0
    assert skimmers.probability_first(POST, POST.title, IDEAL) == 1.0
    assert skimmers.probability_first(POST, IDEAL, POST.title) == 0.0
    assert skimmers.probability_first(POST, "cats .", "rain .") == 0.5


def test_title_overlap_counts_words_of_the_title() -> None:
    post = Post.from_record({**POST.to_record(), "title": "big fight with my dad today"})
    assert title_overlap(post, "my dad read my private messages .") == pytest.approx(2 / 6)
    assert title_overlap(post, "") == 0.0


def test_shares_mix_in_closed_form() -> None:
    reader = 1 / (1 + math.exp(-(6.0 + 1.0) / 0.7))
    meant = 0.88 * reader + 0.12 * 0.0
    expected = 0.97 * meant + 0.03 * (1 - meant)
    assert Annotators().probability_first(POST, IDEAL, POST.title) == pytest.approx(expected)


@pytest.mark.parametrize("annotators", [Annotators(), READERS, Annotators(2.0, 0.3, 0.5)])
def test_the_order_of_presentation_does_not_matter(annotators: Annotators) -> None:
    for a, b in combinations([IDEAL, SHORT, POST.title, ""], 2):
        forth, back = annotators.probability_first(POST, a, b), annotators.probability_first(POST, b, a)
        assert forth + back == pytest.approx(1.0)


def test_a_tiny_temperature_is_a_hard_choice_and_no_overflow() -> None:
    hard = Annotators(temperature=1e-12, flip_share=0.0, skimmer_share=0.0)
    assert hard.probability_first(POST, IDEAL, SHORT) == 1.0
    assert hard.probability_first(POST, SHORT, IDEAL) == pytest.approx(0.0, abs=1e-300)


def test_labels_come_at_their_probability() -> None:
    rng = random.Random(0)
    pool = Annotators()
    share = mean(pool.prefers_first(POST, SHORT, POST.title, rng) for _ in range(4000))
    assert share == pytest.approx(pool.probability_first(POST, SHORT, POST.title), abs=0.025)


@pytest.mark.parametrize(
    ("shares", "name"),
    [({"temperature": 0.0}, "temperature"), ({"flip_share": 1.5}, "flip"), ({"skimmer_share": -1}, "skim")],
)
def test_impossible_annotators_are_refused_by_name(shares: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Annotators(**shares)


def test_a_group_keeps_the_samples_first_and_labels_every_two_different_texts() -> None:
    group = label_group(POST, [IDEAL, SHORT, IDEAL, POST.title], READERS, random.Random(0))
    assert json.loads(json.dumps(group)) == group
    assert group["responses"] == [IDEAL, SHORT, IDEAL, POST.title]
    assert [sorted(pair) for pair in group["pairs"]] == [[0, 1], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert Post.from_record(group) == POST


def test_a_pair_names_the_winner_first() -> None:
    hard = Annotators(temperature=1e-6, flip_share=0.0, skimmer_share=0.0)
    group = label_group(POST, [POST.title, SHORT, IDEAL], hard, random.Random(0))
    assert group["pairs"] == [[1, 0], [2, 0], [2, 1]]


def test_candidates_are_the_samples_a_careful_summary_and_a_foil() -> None:
    rng = random.Random(3)
    edited, careful_gold, foil_gold = [], [], []
    for post in generate_posts(1000, seed=8):
        first, second, careful, foil = group_candidates(post, ["a", "b"], rng)
        assert (first, second) == ("a", "b")
        careful_gold.append(gold_score(post, careful))
        foil_gold.append(gold_score(post, foil))
        before, after = parse(careful), parse(foil)
        changed = sum(a.value != b.value for a, b in zip(before.facts, after.facts, strict=False))
        edited.append(before.skeleton == after.skeleton and changed == 1)
    assert mean(edited) == pytest.approx(0.5, abs=0.06)
    assert mean(careful_gold) > 5.0 > mean(foil_gold) + 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pairs_and_agreement_of_2500_posts(seed: int) -> None:
    rng = random.Random(seed)
    agreements: list[float] = []
    for post in generate_posts(2500, seed=100 + seed):
        group = label_group(
            post,
            group_candidates(post, [write_reference(post, rng), write_reference(post, rng)], rng),
            Annotators(),
            rng,
        )
        gold = [gold_score(post, text) for text in group["responses"]]
        differences = [gold[winner] - gold[loser] for winner, loser in group["pairs"]]
        agreements += [0.5 if abs(difference) < 1e-9 else float(difference > 0) for difference in differences]
    assert len(agreements) == pytest.approx(14_700, abs=100)
    assert 0.83 <= mean(agreements) <= 0.85
