"""Simulated annotators: noisy judges of gold quality, with a known share who only skim."""

import math
import random
from dataclasses import dataclass

from rlhf_engine.data.world.gold import gold_score
from rlhf_engine.data.world.posts import Post

_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True)
class Annotators:
    """A pool of annotators.

    temperature: gold points per unit of log-odds, > 0; flip_share: labels that are switched by accident, in [0, 1];
    skimmer_share: labels from people who look only for the words of the title, in [0, 1]. Raises ValueError.
    """

    temperature: float = 0.7
    flip_share: float = 0.03
    skimmer_share: float = 0.12

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}; it must be above 0")
        for name in ("flip_share", "skimmer_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in [0, 1]")

    def probability_first(self, post: Post, a: str, b: str) -> float:
        """P(a is labelled better than b): Bradley-Terry on gold, mixed with skimming, then accidental flips."""
        reader = _sigmoid((gold_score(post, a) - gold_score(post, b)) / self.temperature)
        skimmer = _skimmer_probability(post, a, b)
        meant = (1 - self.skimmer_share) * reader + self.skimmer_share * skimmer
        return (1 - self.flip_share) * meant + self.flip_share * (1 - meant)

    def prefers_first(self, post: Post, a: str, b: str, rng: random.Random) -> bool:
        """One label: whether an annotator drawn from the pool calls a better than b."""
        return rng.random() < self.probability_first(post, a, b)


def title_overlap(post: Post, summary: str) -> float:
    """Share of the title's words that occur in the summary, in [0, 1]: all that a skimmer looks at."""
    title, words = post.title.split(), set(summary.split())
    return sum(word in words for word in title) / len(title)


def _skimmer_probability(post: Post, a: str, b: str) -> float:
    difference = title_overlap(post, a) - title_overlap(post, b)
    return 0.5 if difference == 0 else float(difference > 0)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(min(-x, _LARGEST_EXPONENT)))
