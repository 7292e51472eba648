"""What is measured of each response by itself: gold, what it copies, and how it overlaps with its references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.world import Post, gold_score
from rlhf_engine.eval.text_metrics import coverage_and_density, repetition, rouge_n, words


def gold_scores(prompts: Sequence[Prompt], texts: Sequence[str], ended: Sequence[bool]) -> list[float]:
    """Gold of each response in the built-in world; empty elsewhere."""
    if not all("latents" in prompt.record for prompt in prompts):
        return []
    rows = zip(prompts, texts, ended, strict=True)
    return [gold_score(Post.from_record(prompt.record), text, ended=end) for prompt, text, end in rows]


def copying_measures(prompts: Sequence[Prompt], texts: Sequence[str]) -> dict[str, list[float]]:
    """What each text takes from its post, and from itself."""
    posts = [str(prompt.record.get("post") or prompt.text) for prompt in prompts]
    copied = [coverage_and_density(post, text) for post, text in zip(posts, texts, strict=True)]
    return {
        "coverage": [coverage for coverage, _ in copied],
        "density": [density for _, density in copied],
        "repetition": [repetition(text) for text in texts],
    }


def best_overlaps(measure: Callable[[str, str], float], prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
    """Of each text with that of its references which it is closest to."""
    return [
        max(measure(reference, text) for reference in prompt.record.get("references") or [prompt.reference or ""])
        for prompt, text in zip(prompts, texts, strict=True)
    ]


def overlap_measures(prompts: Sequence[Prompt], texts: Sequence[str]) -> dict[str, list[float]]:
    """What each text shares with its reference, and its words for each of the reference's; none without references."""
    pairs = [(prompt.reference or "", text) for prompt, text in zip(prompts, texts, strict=True)]
    if not all(words(reference) for reference, _ in pairs):
        return {}
    return {
        "rouge_1": best_overlaps(partial(rouge_n, n=1), prompts, texts),
        "rouge_2": best_overlaps(partial(rouge_n, n=2), prompts, texts),
        "length_ratio": [len(words(text)) / len(words(reference)) for reference, text in pairs],
    }
