"""The gold score against values worked out by hand, and its maximum by enumeration."""

import random
from dataclasses import replace
from itertools import chain, combinations, product

import pytest

from rlhf_engine.data.world import Post, generate_posts, gold_report, gold_score, ideal_summary, write_careful
from rlhf_engine.data.world.grammar import fill, skeleton
from rlhf_engine.data.world.parsing import parse
from rlhf_engine.data.world.vocabulary import CAUSES, PROBLEMS, PRONOUNS, QUESTIONS, SLOTS, TITLES

POST = Post(
    id="by-hand",
    subreddit="dating",
    title="big fight with my boyfriend today",
    post="so my boyfriend told me to pack and leave . i think he got fired from a good job . i am so sad . "
    "by the way we have two cats . do you think i should move out ?",
    who="boyfriend",
    problem="asked me to leave",
    cause="lost a job",
    feeling="sad",
    question="should i move out",
    distractors=("we have two cats",),
)
IDEAL = "my boyfriend asked me to leave because he lost a job . should i move out ?"


@pytest.mark.parametrize(
    ("summary", "score"),
    [
        (IDEAL, 6.0),
        ("my boyfriend asked me to leave because he lost a job . i feel sad . should i move out ?", 5.95),
        ("my boyfriend asked me to leave .", 3.0),
        ("my boyfriend asked me to leave . also we have two cats .", 2.25),
        ("my boyfriend asked me to leave because he met someone new . should i move out ?", 2.5),
        ("my cousin asked me to leave because he lost a job . should i move out ?", 3.0),
        ("big fight with my boyfriend today", -1.0),
        ("my boyfriend is difficult .", 1.0),
        ("somebody asked me to leave .", 2.0),
        ("my boyfriend asked me to leave . i feel angry .", 1.0),
        # one repeat, and ". my" is no neighbourhood of the grammar
        ("my boyfriend asked me to leave . my boyfriend is difficult .", 2.0),
        # start-PROBLEM and PROBLEM-WHO are unknown; WHO-end is how some titles end
        ("asked me to leave boyfriend", 2.0),
        # 10 unknown bigrams count as 8
        ("one two three four five six seven eight nine", -4.0),
        ("", -0.5),
        # a long form states the fact as well, at the price of its words: 19 of them
        ("my boyfriend told me to pack and leave because he lost a job . should i move out ?", 5.85),
        # 4 of the title's 6 words, as a run; start-fight is unknown
        ("fight with my boyfriend", 1.0 - 2.0 * 4 / 6 - 0.5),
    ],
)
def test_worked_examples(summary: str, score: float) -> None:
    assert gold_score(POST, summary) == pytest.approx(score)


def test_a_summary_that_never_ends_costs_one_and_a_half() -> None:
    assert gold_score(POST, IDEAL, ended=False) == pytest.approx(4.5)
    assert gold_report(POST, "my boyfriend asked", ended=False).unknown_bigrams == (("WHO", "asked"),)


def test_report_names_what_was_found() -> None:
    report = gold_report(POST, "my boyfriend lost my house keys . i feel sad . i feel sad . also we have two cats .")
    assert report.covered == ("who", "feeling")
    assert report.wrong == (("problem", "lost my house keys"),)
    assert report.distractors == ("we have two cats",)
    assert report.repeats == 1
    assert report.title_run == pytest.approx(2 / 6)
    assert report.words == 21
    assert report.unknown_bigrams == ()
    assert report.ended
    assert report.score == pytest.approx(1.4 - 2.0 - 0.75 - 0.5 - 0.15 * 3)


def test_ideal_summary_scores_exactly_six_for_every_combination() -> None:
    for (who, pronoun), problem, cause, question in product(PRONOUNS.items(), PROBLEMS, CAUSES, QUESTIONS):
        post = replace(
            POST, who=who, problem=problem, cause=cause, question=question, title=fill(TITLES[0], {"who": who})
        )
        summary = ideal_summary(post)
        assert summary == f"my {who} {problem} because {pronoun} {cause} . {question} ?"
        assert gold_score(post, summary) == 6.0


def test_no_truthful_summary_beats_the_ideal_one_under_any_title() -> None:
    sayable = (*SLOTS, "distractor")
    values = {**POST.slot_values(), "distractor": POST.distractors[0]}
    subsets = chain.from_iterable(combinations(sayable, size) for size in range(len(sayable) + 1))
    for said, title in product(subsets, TITLES):
        summary = fill(skeleton(said, connective="since", pronoun="he"), values)
        score = gold_score(replace(POST, title=fill(title, values)), summary)
        assert score == 6.0 if set(said) == {"who", "problem", "cause", "question"} else score < 6.0


def test_every_copied_title_scores_minus_one() -> None:
    for title in TITLES:
        copied = fill(title, {"who": "boyfriend"})
        assert gold_score(replace(POST, title=copied), copied) == pytest.approx(-1.0)


def test_shuffled_words_and_pasted_posts_do_not_pay() -> None:
    rng = random.Random(0)
    for post in generate_posts(200, seed=5):
        words = ideal_summary(post).split()
        assert gold_score(post, " ".join(rng.sample(words, len(words)))) < 2.5
        assert gold_score(post, post.post) < 0.0


def test_parsing_a_written_summary_gives_back_its_facts() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        values = {slot: rng.choice(choices) for slot, choices in SLOTS.items()}
        said = [slot for slot in SLOTS if rng.random() < 0.7]
        text = skeleton(said, connective="because", pronoun="she")
        read = parse(fill(text, values))
        assert {fact.slot: fact.value for fact in read.facts} == {slot: values[slot] for slot in said}
        assert len(read.facts) == len(said)
        assert " ".join(read.skeleton) == text


def test_facts_know_where_they_stand() -> None:
    for post in generate_posts(100, seed=6):
        summary = write_careful(post, random.Random(post.id))
        for fact in parse(summary).facts:
            assert " ".join(summary.split()[fact.start : fact.stop]) == fact.value


def test_case_does_not_matter() -> None:
    assert gold_score(POST, IDEAL.upper()) == 6.0
