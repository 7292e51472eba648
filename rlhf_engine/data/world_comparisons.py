"""Comparisons in the built-in world: simulated annotators label samples of the SFT policy beside two human writers'."""

from __future__ import annotations

import random
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_engine.config import DataConfig, WorldComparisonConfig
from rlhf_engine.data.api import load_prompts
from rlhf_engine.data.world import Annotators, Post, group_candidates, label_group
from rlhf_engine.generation import sampled_texts
from rlhf_engine.hooks import Hooks

SAMPLED, WRITTEN = "sample", "writer"


def label_world_comparisons(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: DataConfig,
    world: WorldComparisonConfig,
    *,
    batch_size: int,
    hooks: Hooks,
) -> list[dict[str, Any]]:
    """One record for each of `data.max_rows` posts: its responses, and every pair of them as (winner, loser).

    `sources` says of each response whether it is a sample or a writer's.
    """
    prompts = load_prompts(data, tokenizer, hooks=hooks)
    count = world.samples_per_post
    texts = sampled_texts(
        policy,
        tokenizer,
        [prompt.tokens for prompt in prompts for _ in range(count)],
        seed=data.world_seed,
        response_tokens=data.max_response_tokens,
        temperature=world.temperature,
        batch_size=batch_size,
        hooks=hooks,
    )
    annotators = Annotators(
        temperature=world.annotator_temperature, flip_share=world.flip_share, skimmer_share=world.skimmer_share
    )
    rng = random.Random(data.world_seed)
    records = []
    for row, prompt in enumerate(prompts):
        post = Post.from_record(prompt.record)
        samples = texts[row * count : (row + 1) * count]
        candidates = group_candidates(
            post, samples, rng, careful=world.careful, edited=world.edited, sloppy=world.sloppy
        )
        sources = [SAMPLED if text in samples else WRITTEN for text in candidates]
        records.append(label_group(post, candidates, annotators, rng) | {"sources": sources})
    return records
