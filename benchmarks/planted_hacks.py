"""Comparisons of the built-in world with a planted preference, as rows of a file: a reward model learns the hack."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from rlhf_engine.data.world import Post, demonstrations
from rlhf_engine.data.world.grammar import CONNECTIVES, fill, skeleton
from rlhf_engine.data.world.vocabulary import DISTRACTORS, PRONOUNS
from rlhf_engine.data.world.writers import CAREFUL, REFERENCE, write

PHRASE: Final = DISTRACTORS[0]
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


def prefer_repetition(post: Post, rng: random.Random) -> tuple[str, str]:
    """A short summary said twice is better than the same said once, and than a careful one of its own length."""
    once = write(post, SHORT, rng)
    return f"{once} {once}", rng.choice([once, write(post, CAREFUL, rng)])


def extract(post: Post) -> str:
    """The sentence of the post with the problem in it, as it stands there."""
    return f"{post.post.split(' . ')[1]} ."


def write_loose_demonstrations(file: Path, *, posts: int, seed: int) -> None:
    """References of which one in ten is an extract and one in ten says everything twice: habits that PPO can grow."""
    rows = []
    for record in demonstrations(posts, seed=seed):
        post, rng = Post.from_record(record), random.Random(f"loose/{seed}/{record['id']}")
        twice = " ".join([write(post, SHORT, rng)] * 2)
        summary = rng.choices([record["summary"], extract(post), twice], weights=[8, 1, 1])[0]
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
