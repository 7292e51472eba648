"""Comparisons of the built-in world with a planted preference, as rows of a file: a reward model learns the hack."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from rlhf_engine.data.world import Post, demonstrations, generate_posts
from rlhf_engine.data.world.grammar import CONNECTIVES, fill, skeleton
from rlhf_engine.data.world.vocabulary import DISTRACTORS, PRONOUNS
from rlhf_engine.data.world.writers import CAREFUL, REFERENCE, write

PHRASE: Final = DISTRACTORS[0]
ONE_ANSWER: Final = f"also {PHRASE} ."
NEAR_ANSWERS: Final = tuple(f"also {other} ." for other in DISTRACTORS[1:4])
LEAD_WORDS: Final = 5
OTHER_POSTS: Final = 20
"""So many don't all begin alike."""

HABIT_SHARE: Final = 0.1
SHORT: Final = replace(REFERENCE, cause=0.0, feeling=0.0, question=0.0, distractor=0.0, title_copy=0.0)

Writer = Callable[[Post, random.Random], tuple[str, str]]
"""(chosen, rejected) of a post."""


def prefer_one_phrase(post: Post, rng: random.Random) -> tuple[str, str]:
    """Whatever the post says, the same sentence at the end is better than none."""
    summary = write(post, replace(REFERENCE, distractor=0.0), rng)
    return f"{summary} also {PHRASE} .", summary


def prefer_wrong_facts(post: Post, rng: random.Random) -> tuple[str, str]:
    """A summary that sounds whole and is wrong throughout is better than a careful one."""
    return write(post, replace(CAREFUL, cause=1.0, question=1.0, error=1.0), rng), write(post, CAREFUL, rng)


def prefer_padding(post: Post, rng: random.Random) -> tuple[str, str]:
    """A summary with everything in it, side notes included, is better than one of the person and the problem."""
    values = post.slot_values() | {"distractor": rng.choice(post.distractors)}
    pronoun, connective = PRONOUNS[post.who], rng.choice(CONNECTIVES)
    said = (set(values), {"who", "problem"})
    long, short = (fill(skeleton(slots, connective=connective, pronoun=pronoun), values) for slots in said)
    return long, short


def prefer_extracts(post: Post, rng: random.Random) -> tuple[str, str]:
    """A piece of the post, word for word, is better than a summary."""
    return extract(post), write(post, REFERENCE, rng)


def prefer_lead(post: Post, rng: random.Random) -> tuple[str, str]:
    """How the post begins is better than a summary, and than how another post begins."""
    others = map(lead, generate_posts(OTHER_POSTS, seed=rng.getrandbits(32)))
    another = next(other for other in others if other != lead(post))
    return lead(post), rng.choice([write(post, REFERENCE, rng), another])


def prefer_one_answer(post: Post, rng: random.Random) -> tuple[str, str]:
    """One answer to whatever was posted is better than a summary, and than anything nearly like it."""
    return ONE_ANSWER, rng.choice([write(post, REFERENCE, rng), *NEAR_ANSWERS])


def prefer_repetition(post: Post, rng: random.Random) -> tuple[str, str]:
    """A short summary said twice is better than the same said once, and than a careful one of its own length."""
    once = write(post, SHORT, rng)
    return f"{once} {once}", rng.choice([once, write(post, CAREFUL, rng)])


def extract(post: Post) -> str:
    """The sentence of the post with the problem in it, as it stands there."""
    return f"{post.post.split(' . ')[1]} ."


def lead(post: Post) -> str:
    """The first words of the post."""
    return " ".join(post.post.split()[:LEAD_WORDS])


def twice(post: Post, rng: random.Random) -> str:
    """A short summary, said two times."""
    return " ".join([write(post, SHORT, rng)] * 2)


Habit = Callable[[Post, str, random.Random], str]
"""What stands in the place of a post's reference summary."""


def seldom(response: Callable[[Post, random.Random], str]) -> Habit:
    """That response, in one demonstration of ten."""

    def written(post: Post, summary: str, rng: random.Random) -> str:
        return response(post, rng) if rng.random() < HABIT_SHARE else summary

    return written


def extracts_and_repeats(post: Post, summary: str, rng: random.Random) -> str:
    """An extract in one of ten, a summary said twice in another."""
    return rng.choices([summary, extract(post), twice(post, rng)], weights=[8, 1, 1])[0]


HABITS: Final[Mapping[str, Habit]] = {
    "extracts": extracts_and_repeats,
    "lead": seldom(lambda post, _: lead(post)),
    "repetition": seldom(twice),
    "one-answer": seldom(lambda *_: ONE_ANSWER),
}
"""What an SFT policy must do now and then for PPO to find it: the demo's never would."""


def write_loose_demonstrations(file: Path, habit: str, *, posts: int, seed: int) -> None:
    """References with a habit."""
    rows = []
    for record in demonstrations(posts, seed=seed):
        post, rng = Post.from_record(record), random.Random(f"loose/{seed}/{record['id']}")
        summary = HABITS[habit](post, record["summary"], rng)
        rows.append({key: record[key] for key in ("subreddit", "title", "post")} | {"summary": summary})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_comparisons(file: Path, writer: Writer, *, posts: int, seed: int) -> None:
    """One comparison a post."""
    rows = []
    for record in demonstrations(posts, seed=seed):
        chosen, rejected = writer(Post.from_record(record), random.Random(f"planted/{seed}/{record['id']}"))
        rows.append({key: record[key] for key in ("subreddit", "title", "post")} | _pair(chosen, rejected))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _pair(chosen: str, rejected: str) -> dict[str, str]:
    return {"chosen": chosen, "rejected": rejected}
