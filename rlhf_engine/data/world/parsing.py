"""Reading facts out of a text: left to right, the longest phrase of the lexicon wins."""

from dataclasses import dataclass
from typing import Final

from rlhf_engine.data.world.vocabulary import phrases

_PHRASES: Final = {tuple(phrase.split()): fact for phrase, fact in phrases().items()}
_LONGEST: Final = max(map(len, _PHRASES))


@dataclass(frozen=True)
class Fact:
    """A stated fact and where it stands: words[start:stop] of the text."""

    slot: str
    value: str
    start: int
    stop: int


@dataclass(frozen=True)
class Parse:
    """The words of a text, the facts among them in order, and the text with facts replaced by slot names."""

    words: tuple[str, ...]
    facts: tuple[Fact, ...]
    skeleton: tuple[str, ...]


def parse(text: str) -> Parse:
    """Split a text at blanks, without regard to case, into facts and skeleton words."""
    words = tuple(text.lower().split())
    facts: list[Fact] = []
    skeleton: list[str] = []
    position = 0
    while position < len(words):
        fact = _fact_at(words, position)
        if fact is None:
            skeleton.append(words[position])
            position += 1
        else:
            facts.append(fact)
            skeleton.append(fact.slot.upper())
            position = fact.stop
    return Parse(words, tuple(facts), tuple(skeleton))


def _fact_at(words: tuple[str, ...], start: int) -> Fact | None:
    for stop in range(min(start + _LONGEST, len(words)), start, -1):
        if words[start:stop] in _PHRASES:
            slot, value = _PHRASES[words[start:stop]]
            return Fact(slot, value, start, stop)
    return None
