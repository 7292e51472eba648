"""The grammar of summaries: what the writers compose, and from it what counts as fluent.

A skeleton is a summary with its facts taken out, as upper-case slot names: `my WHO PROBLEM because he CAUSE .`
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, combinations, pairwise, product
from typing import Final

from rlhf_engine.data.world.vocabulary import SLOTS, TITLES

START: Final = "<start>"
END: Final = "<end>"
CONNECTIVES: Final = ("because", "since")

_SAYABLE = (*SLOTS, "distractor")


def skeleton(said: Collection[str], *, connective: str, pronoun: str) -> str:
    """The skeleton of a summary that states the slots in `said` ("distractor" among them)."""
    parts = ["my WHO" if "who" in said else "somebody", "PROBLEM" if "problem" in said else "is difficult"]
    if "cause" in said:
        parts.append(f"{connective} {pronoun} CAUSE")
    parts.append(".")
    if "feeling" in said:
        parts.append("i feel FEELING .")
    if "distractor" in said:
        parts.append("also DISTRACTOR .")
    if "question" in said:
        parts.append("QUESTION ?")
    return " ".join(parts)


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with each upper-case slot name replaced by that slot's value."""
    return " ".join(values[word.lower()] if word.isupper() else word for word in template.split())


def skeleton_bigrams(words: Sequence[str], *, ended: bool = True) -> list[tuple[str, str]]:
    """Neighbouring skeleton words, with START before the first and, if `ended`, END after the last."""
    return list(pairwise([START, *words, *([END] if ended else [])]))


def _skeletons() -> Iterator[str]:
    subsets = chain.from_iterable(combinations(_SAYABLE, size) for size in range(len(_SAYABLE) + 1))
    for said, connective, pronoun in product(subsets, CONNECTIVES, ("he", "she")):
        yield skeleton(said, connective=connective, pronoun=pronoun)
    yield from TITLES


KNOWN_BIGRAMS: Final[frozenset[tuple[str, str]]] = frozenset(
    bigram for text in _skeletons() for bigram in skeleton_bigrams(text.split())
)
