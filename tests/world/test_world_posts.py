"""Posts: reproducible slices, round trips, and a text from which the facts can be read back."""

import json
import math
import subprocess
import sys
from collections import Counter
from itertools import permutations
from statistics import mean

import pytest

from rlhf_engine.data.world import Post, generate_posts
from rlhf_engine.data.world.parsing import parse
from rlhf_engine.data.world.vocabulary import DISTRACTORS, PRONOUNS, SLOTS, SUBREDDITS, TITLES, phrases

POSTS = generate_posts(2000, seed=11)


def test_slots_span_55296_combinations() -> None:
    assert [len(values) for values in SLOTS.values()] == [12, 12, 8, 6, 8]
    assert math.prod(len(values) for values in SLOTS.values()) == 55_296
    assert (len(DISTRACTORS), len(TITLES), len(SUBREDDITS)) == (8, 6, 8)


def test_no_phrase_of_the_lexicon_stands_inside_a_phrase_of_another_value() -> None:
    facts = phrases()
    assert len(facts) == 12 + 12 * 3 + 8 * 3 + 6 + 8 * 3 + 8
    for (inner, inner_fact), (outer, outer_fact) in permutations(facts.items(), 2):
        assert inner_fact == outer_fact or f" {inner} " not in f" {outer} "


def test_any_slice_of_a_stream_is_the_same_and_streams_differ() -> None:
    assert generate_posts(5, seed=11, start=700) == POSTS[700:705]
    other = generate_posts(2000, seed=12)
    assert not {post.post for post in POSTS} & {post.post for post in other}
    assert len({post.id for post in [*POSTS, *other]}) == 4000


def test_a_post_is_the_same_in_another_process() -> None:
    script = "from rlhf_engine.data.world import generate_posts; print(generate_posts(1, seed=11, start=3)[0].post)"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == POSTS[3].post


def test_the_world_loads_without_numerical_libraries() -> None:
    script = (
        "import sys, rlhf_engine.data.world; print({'torch', 'numpy', 'transformers', 'datasets'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


def test_texts_are_lower_case_words_separated_by_single_blanks() -> None:
    for post in POSTS:
        for text in (post.post, post.title):
            assert text == " ".join(text.lower().split())
            assert all(word.isalnum() or word in {".", ",", "?"} for word in text.split())


def test_the_facts_of_a_post_can_be_read_back_from_its_body() -> None:
    for post in POSTS:
        stated = [(fact.slot, fact.value) for fact in parse(post.post).facts]
        people = [value for slot, value in stated if slot == "who"]
        assert people.count(post.who) == 1
        assert len(people) <= 2
        assert Counter(fact for fact in stated if fact[0] != "who") == Counter(
            [(slot, value) for slot, value in post.slot_values().items() if slot != "who"]
            + [("distractor", value) for value in post.distractors]
        )


def test_a_post_opens_with_its_story_and_ends_with_its_question() -> None:
    for post in POSTS:
        order = [fact.slot for fact in parse(post.post).facts]
        assert order[-1] == "question"
        assert order.index("who") < order.index("problem")
        assert f"my {post.who} " in post.post
        assert f" {PRONOUNS[post.who]} " in post.post


def test_titles_name_the_person_and_nothing_else() -> None:
    for post in POSTS:
        assert [(fact.slot, fact.value) for fact in parse(post.title).facts] == [("who", post.who)]


def test_values_and_forms_are_drawn_evenly() -> None:
    for slot, values in SLOTS.items():
        counts = Counter(post.slot_values()[slot] for post in POSTS)
        expected = len(POSTS) / len(values)
        assert all(abs(counts[value] - expected) < 5 * math.sqrt(expected) for value in values)
    long_forms = [form for form, (slot, value) in phrases().items() if slot == "problem" and form != value]
    assert all(sum(form in post.post for post in POSTS) > 40 for form in long_forms)


def test_shares_of_bystanders_distractors_and_swapped_order() -> None:
    people = [sum(fact.slot == "who" for fact in parse(post.post).facts) for post in POSTS]
    assert mean(count == 2 for count in people) == pytest.approx(0.4, abs=0.05)
    assert mean(len(post.distractors) for post in POSTS) == pytest.approx(1.5, abs=0.05)
    orders = [[fact.slot for fact in parse(post.post).facts] for post in POSTS]
    assert mean(order.index("feeling") < order.index("cause") for order in orders) == pytest.approx(0.3, abs=0.05)


def test_prompts_are_as_short_as_the_small_model_needs() -> None:
    lengths = [len(f"{post.subreddit} {post.title} {post.post}".split()) + 4 for post in POSTS]
    assert mean(lengths) == pytest.approx(65, abs=2)
    assert max(lengths) <= 84


def test_record_survives_json() -> None:
    for post in POSTS[:50]:
        record = json.loads(json.dumps(post.to_record()))
        assert set(record) == {"id", "subreddit", "title", "post", "latents"}
        assert Post.from_record({**record, "summary": "ignored"}) == post


@pytest.mark.parametrize("key", ["id", "title", "post", "latents"])
def test_a_row_that_lacks_a_key_is_refused_by_name(key: str) -> None:
    record = {name: value for name, value in POSTS[0].to_record().items() if name != key}
    with pytest.raises(ValueError, match=f"lacks {key}"):
        Post.from_record(record)


def test_unknown_latents_are_refused_by_name() -> None:
    record = POSTS[0].to_record()
    with pytest.raises(ValueError, match=r"world-11-0.*'feeling': 'bored'"):
        Post.from_record({**record, "latents": {**record["latents"], "feeling": "bored"}})
    with pytest.raises(ValueError, match="distractors"):
        Post.from_record({**record, "latents": {**record["latents"], "distractors": []}})
