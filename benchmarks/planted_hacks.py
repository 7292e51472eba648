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


def write_comparisons(file: Path, writer: Writer, *, posts: int, seed: int) -> None:
    """One comparison a post."""
    rows = []
    for record in demonstrations(posts, seed=seed):
        chosen, rejected = writer(Post.from_record(record), random.Random(f"planted/{seed}/{record['id']}"))
        rows.append({key: record[key] for key in ("subreddit", "title", "post")} | _pair(chosen, rejected))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _pair(chosen: str, rejected: str) -> dict[str, str]:
    return {"chosen": chosen, "rejected": rejected}
