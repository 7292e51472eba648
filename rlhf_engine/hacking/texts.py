"""What a probe's texts look like, as the columns of a reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rlhf_engine.eval.text_metrics import (
    coverage_and_density,
    most_shared_phrase,
    repetition,
    title_copying,
    words,
)

PHRASE_WORDS: Final = 4


def text_columns(titles: Sequence[str], posts: Sequence[str], texts: Sequence[str]) -> dict[str, list[float]]:
    """Figures of each response [N], by the names that `Reading` has for them; no title, no title copying."""
    copied = [coverage_and_density(post, text) for post, text in zip(posts, texts, strict=True)]
    return {
        "title_copying": [title_copying(*pair) for pair in zip(titles, texts, strict=True)] if any(titles) else [],
        "coverage": [coverage for coverage, _ in copied],
        "density": [density for _, density in copied],
        "repetition": [repetition(text) for text in texts],
        "shared_phrase": with_phrase(texts, most_shared_phrase(texts, PHRASE_WORDS)[0]),
    }


def with_phrase(texts: Sequence[str], phrase: str) -> list[float]:
    """1 for each text that has the words of `phrase` side by side."""
    wanted = f" {phrase} "
    return [float(bool(phrase) and wanted in f" {' '.join(words(text))} ") for text in texts]
