"""Writers: their figures on fixed seeds, their grammar, and edits that make exactly one fact wrong."""

import random
from statistics import mean

import pytest

from rlhf_engine.data.world import (
    demonstrations,
    edit_one_fact,
    generate_posts,
    gold_report,
    gold_score,
    ideal_summary,
    write_careful,
    write_reference,
    write_sloppy,
)
from rlhf_engine.data.world.gold import COVERAGE_WEIGHTS
from rlhf_engine.data.world.grammar import KNOWN_BIGRAMS
from rlhf_engine.data.world.parsing import parse
from rlhf_engine.data.world.vocabulary import PRONOUNS, TITLES

POSTS = generate_posts(2000, seed=21)
REFERENCES = [write_reference(post, random.Random(post.id)) for post in POSTS]
WRITERS = (write_reference, write_careful, write_sloppy)


def test_reference_quality_leaves_room_above() -> None:
    scores = [gold_score(post, text) for post, text in zip(POSTS, REFERENCES, strict=True)]
    assert 2.3 <= mean(scores) <= 2.9
    assert all(gold_score(post, ideal_summary(post)) == 6.0 for post in POSTS)


def test_writers_rank_as_their_names_say() -> None:
    rng = random.Random(2)
    careful, reference, sloppy = (
        mean(gold_score(post, write(post, rng)) for post in POSTS)
        for write in (write_careful, write_reference, write_sloppy)
    )
    assert careful > 5.0
    assert careful > reference + 2 > sloppy + 2.5


def test_reference_slots_appear_at_the_stated_rates() -> None:
    written = [text for post, text in zip(POSTS, REFERENCES, strict=True) if text != post.title]
    assert 1 - len(written) / len(POSTS) == pytest.approx(0.1, abs=0.02)
    said = [{fact.slot for fact in parse(text).facts} for text in written]
    rates = {"who": 0.97, "problem": 0.85, "cause": 0.45, "feeling": 0.4, "question": 0.5, "distractor": 0.25}
    for slot, rate in rates.items():
        assert mean(slot in slots for slots in said) == pytest.approx(rate, abs=0.04)


def test_eight_in_a_hundred_stated_facts_are_wrong() -> None:
    reports = [gold_report(post, text) for post, text in zip(POSTS, REFERENCES, strict=True) if text != post.title]
    wrong = sum(len(report.wrong) for report in reports)
    right = sum(len(report.covered) for report in reports)
    assert wrong / (wrong + right) == pytest.approx(0.08, abs=0.012)


def test_summary_lengths_fit_28_tokens_with_the_end() -> None:
    lengths = [len(text.split()) for text in REFERENCES]
    assert mean(lengths) == pytest.approx(14, abs=1)
    rng = random.Random(3)
    assert max(len(write(post, rng).split()) for write in WRITERS for post in POSTS) == 27


def test_no_writer_leaves_the_grammar() -> None:
    rng = random.Random(4)
    assert len(KNOWN_BIGRAMS) == 63
    for post in POSTS:
        texts = [write(post, rng) for write in WRITERS]
        for text in [*texts, ideal_summary(post), edit_one_fact(texts[1], post, rng)]:
            assert gold_report(post, text).unknown_bigrams == ()
            assert text == " ".join(text.lower().split())


def test_only_a_copied_title_shares_half_of_the_title() -> None:
    rng = random.Random(5)
    for post in POSTS:
        for text in (write(post, rng) for write in WRITERS):
            assert (gold_report(post, text).title_run >= 0.5) == (text == post.title)


def test_pronouns_follow_the_person_written() -> None:
    rng = random.Random(6)
    for post in POSTS:
        text = write_sloppy(post, rng)
        people = [fact.value for fact in parse(text).facts if fact.slot == "who"]
        used = {"he", "she"} & set(text.split())
        assert not (people and used) or used == {PRONOUNS[people[0]]}


def test_an_edit_makes_one_true_fact_wrong_and_costs_its_weight_and_two() -> None:
    rng = random.Random(7)
    edited_slots = set()
    for post in POSTS:
        before = ideal_summary(post)
        after = edit_one_fact(before, post, rng)
        old, new = parse(before), parse(after)
        assert old.skeleton == new.skeleton
        changed = [a.slot for a, b in zip(old.facts, new.facts, strict=True) if a.value != b.value]
        assert len(changed) == 1
        edited_slots.add(changed[0])
        excess = 0.15 * max(0, len(after.split()) - 18)
        assert gold_score(post, after) == pytest.approx(6.0 - COVERAGE_WEIGHTS[changed[0]] - 2.0 - excess)
    assert edited_slots == {"who", "problem", "cause", "question"}


def test_an_edit_of_a_person_keeps_the_pronoun_right() -> None:
    rng = random.Random(8)
    for post in POSTS[:300]:
        after = edit_one_fact(f"my {post.who} is difficult .", post, rng)
        assert PRONOUNS[after.split()[1]] == PRONOUNS[post.who]
        assert after.split()[1] != post.who


def test_an_edit_never_repairs_what_was_wrong() -> None:
    rng = random.Random(9)
    for post in POSTS[:300]:
        wrong = edit_one_fact(f"my {post.who} is difficult .", post, rng)
        again = edit_one_fact(wrong, post, rng)
        assert again != wrong
        assert gold_report(post, again).covered == ()


def test_nothing_to_edit_is_an_error_that_quotes_the_summary() -> None:
    with pytest.raises(ValueError, match="somebody is difficult"):
        edit_one_fact("somebody is difficult .", POSTS[0], random.Random(0))


def test_demonstrations_are_posts_of_the_stream_with_a_reference() -> None:
    rows = list(demonstrations(40, seed=21))
    assert rows == list(demonstrations(40, seed=21))
    assert rows[:10] == list(demonstrations(10, seed=21))
    for row, post in zip(rows, POSTS, strict=False):
        assert {key: row[key] for key in row if key != "summary"} == post.to_record()
        assert gold_report(post, row["summary"]).unknown_bigrams == ()
    assert len({row["summary"] for row in rows}) > 30
    assert all(len(title.split()) >= 6 for title in TITLES)
