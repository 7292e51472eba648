"""How far people agree: with a figure such as a reward model's score, with themselves on repeats, with each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from rlhf_sdk.preferences import Vote
from rlhf_sdk.settled_votes import preferred_by

Z95 = 1.959963984540054
NEITHER = "neither"
Label = Hashable
Figure = Callable[[Vote], tuple[float, float] | None]
"""What is known of the two responses of a vote, as they stood; None where it is not known of both."""


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return "-" if math.isnan(self.value) else f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Agreement:
    """Of `count` pairs of labels: the share that are equal, and what of that is beyond chance (Cohen 1960)."""

    accuracy: Interval
    kappa: Interval
    count: int


def share(hits: int, count: int, clusters: int | None = None) -> Interval:
    """With Wilson's interval (1927), as wide as for as many independent observations as there are `clusters`.

    Of nothing it is nan.
    """
    if not count:
        return Interval(math.nan, math.nan, math.nan)
    value, number = hits / count, min(clusters or count, count)
    centre = (value + Z95**2 / (2 * number)) / (1 + Z95**2 / number)
    half = Z95 / (1 + Z95**2 / number) * math.sqrt(value * (1 - value) / number + Z95**2 / (4 * number**2))
    return Interval(value, max(centre - half, 0.0), min(centre + half, 1.0))


def agreement(labels: Sequence[tuple[Label, Label]], prompts: Iterable[str]) -> Agreement | None:
    """Of two judges' labels [N] on `prompts` [N]; None without labels.

    Kappa is (accuracy - chance) / (1 - chance), its interval that of the accuracy with chance as it was found; nan
    where chance alone would always agree.
    """
    if not labels:
        return None
    count = len(labels)
    accuracy = share(sum(ours == theirs for ours, theirs in labels), count, len(set(prompts)))
    ours, theirs = Counter(label for label, _ in labels), Counter(label for _, label in labels)
    chance = sum(ours[label] * theirs[label] for label in ours) / count**2

    def beyond(value: float) -> float:
        return (value - chance) / (1 - chance) if chance < 1.0 else math.nan

    return Agreement(accuracy, Interval(*map(beyond, (accuracy.value, accuracy.low, accuracy.high))), count)


def figure_named(name: str) -> Figure:
    """What was recorded with the vote."""

    def found(vote: Vote) -> tuple[float, float] | None:
        left, right = vote.figures
        return (left[name], right[name]) if name in left and name in right else None

    return found


def with_figure(votes: Iterable[Vote], figure: Figure) -> Agreement | None:
    """Of first votes that prefer a response with what has the larger figure; equal figures are left out."""
    decided = [vote for vote in votes if vote.verdict in ("left", "right") and not vote.repeat_of]
    known = [(vote, pair) for vote in decided if (pair := figure(vote)) is not None and pair[0] != pair[1]]
    labels = [(vote.verdict, "left" if left > right else "right") for vote, (left, right) in known]
    return agreement(labels, [vote.prompt for vote, _ in known])


def with_oneself(votes: Sequence[Vote]) -> Agreement | None:
    """Of repeats with the votes that they repeat: left, right (as first shown) or neither."""
    by_id = {vote.id: vote for vote in votes}
    repeated = [(by_id[vote.repeat_of], vote) for vote in votes if vote.repeat_of in by_id]
    labels = [(_as_shown(first, first), _as_shown(again, first)) for first, again in repeated]
    return agreement(labels, [first.prompt for first, _ in repeated])


def _as_shown(vote: Vote, first: Vote) -> Label:
    return NEITHER if vote.chosen is None else first.responses.index(vote.chosen)


def between_labellers(votes: Iterable[Vote]) -> dict[tuple[str, str], Agreement]:
    """Of any two on the pairs that both voted on; who contradicts oneself prefers neither response."""
    pairs: dict[object, list[Vote]] = {}
    for vote in votes:
        pairs.setdefault(vote.pair, []).append(vote)
    labels: dict[tuple[str, str], list[tuple[Label, Label]]] = {}
    prompts: dict[tuple[str, str], list[str]] = {}
    for on_pair in pairs.values():
        first, preferred = on_pair[0], preferred_by(on_pair)
        said = {who: NEITHER if text is None else first.responses.index(text) for who, text in preferred.items()}
        for two in combinations(sorted(said), 2):
            labels.setdefault(two, []).append((said[two[0]], said[two[1]]))
            prompts.setdefault(two, []).append(first.prompt)
    found = {two: agreement(labels[two], prompts[two]) for two in sorted(labels)}
    return {two: each for two, each in found.items() if each is not None}
