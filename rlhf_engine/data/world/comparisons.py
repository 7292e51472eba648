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
    post: Post, sft_samples: Sequence[str], rng: random.Random, *, both_foils: bool = False
) -> list[str]:
    """The samples, a careful summary, and a foil: that summary with one fact made wrong, or a sloppy one, or both."""
    careful = write_careful(post, rng)
    edited = rng.random() < EDIT_SHARE
    foils = [edit_one_fact(careful, post, rng)] if edited or both_foils else []
    if both_foils or not edited:
        foils.append(write_sloppy(post, rng))
    return [*sft_samples, careful, *foils]


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
