"""Rows to train on: demonstrations for SFT, and groups of compared summaries for the reward model."""

import random
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Final

from rlhf_engine.data.world.annotators import Annotators
from rlhf_engine.data.world.posts import Post, generate_posts
from rlhf_engine.data.world.writers import edit_one_fact, write_careful, write_reference, write_sloppy

EDIT_SHARE: Final = 0.5


def demonstrations(count: int, *, seed: int) -> Iterator[dict[str, Any]]:
    """Rows id, subreddit, title, post, latents, summary: the first posts of the stream, each with a reference."""
    for index in range(count):
        (post,) = generate_posts(1, seed=seed, start=index)
        yield {**post.to_record(), "summary": write_reference(post, random.Random(f"reference/{seed}/{index}"))}


def group_candidates(
    post: Post, sft_samples: Sequence[str], rng: random.Random, *, careful: int = 1, edited: int = 0, sloppy: int = 0
) -> list[str]:
    """The samples, `careful` careful summaries, `edited` copies of the first of them with one fact made wrong, and
    `sloppy` sloppy ones. With neither edited nor sloppy there is one of the two, by chance.
    """
    if not edited and not sloppy:
        edited = int(rng.random() < EDIT_SHARE)
        sloppy = 1 - edited
    good = [write_careful(post, rng) for _ in range(careful)]
    wrong = [edit_one_fact(good[0], post, rng) for _ in range(edited)]
    return [*sft_samples, *good, *wrong, *(write_sloppy(post, rng) for _ in range(sloppy))]


def label_group(post: Post, candidates: Sequence[str], annotators: Annotators, rng: random.Random) -> dict[str, Any]:
    """The post's row with the candidates as `responses` and every two different ones labelled in `pairs`.

    A pair is [winner, loser], indices into `responses`. Equal texts stay, so that groups keep their size, but are
    not compared. Labels are independent, so they may be intransitive.
    """
    responses = list(candidates)
    pairs = [
        [a, b] if annotators.prefers_first(post, responses[a], responses[b], rng) else [b, a]
        for a, b in combinations(range(len(responses)), 2)
        if responses[a] != responses[b]
    ]
    return {**post.to_record(), "responses": responses, "pairs": pairs}
