"""What is varied, one thing at a time, around a small PPO update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Point:
    """An update: episodes, tokens of prompt and response, the vocabulary, and the width of a Llama of two blocks."""

    episodes: int = 16
    prompt: int = 64
    response: int = 32
    vocabulary: int = 1024
    hidden: int = 128


AXES = {
    "episodes": (8, 16, 32, 64, 128),
    "prompt": (32, 64, 128, 256, 512),
    "response": (8, 16, 32, 64, 128),
    "vocabulary": (1024, 2048, 4096, 8192, 16384),
    "hidden": (64, 128, 256, 384, 512),
}
"""A decade or more of each; of the width eight times, which makes 64 times the weights of a block."""


def points(axis: str) -> Iterator[Point]:
    for value in AXES[axis]:
        yield replace(Point(), **{axis: value})
