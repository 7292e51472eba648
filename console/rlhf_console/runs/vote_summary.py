"""What there is to know of votes: how many, of whom, and how far they agree with whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from rlhf_console.runs.agreement import (
    Agreement,
    Figure,
    between_labellers,
    figure_named,
    share,
    with_figure,
    with_oneself,
)
from rlhf_sdk.preferences import Vote

RECORDED = {"score": "the recorded score", "gold": "gold"}
Table = tuple[str, list[str], list[list[Any]]]
"""Title, columns, rows."""


def tables_of(votes: Sequence[Vote], scored: Mapping[str, Figure]) -> list[Table]:
    """A table of the labellers, and one of every agreement that can be reckoned; `scored`: other figures, by name."""
    by_labeller = _by_labeller(votes)
    counts = [[name or "(nobody)", *_counts(own)] for name, own in by_labeller.items()]
    found: list[Table] = [("Votes", ["labeller", "votes", "pairs", "neither", "repeats", "left better"], counts)]
    rows = [[f"{who or '(nobody)'} with {whom}", *_row(each)] for who, whom, each in agreements(votes, scored)]
    if rows:
        found.append(("Agreement, with 95 % intervals", ["who", "pairs", "accuracy", "kappa"], rows))
    return found


def agreements(votes: Sequence[Vote], scored: Mapping[str, Figure]) -> list[tuple[str, str, Agreement]]:
    """(who, with whom, how far)."""
    figures = {said: figure_named(name) for name, said in RECORDED.items()} | dict(scored)
    found: list[tuple[str, str, Agreement | None]] = []
    for name, own in _by_labeller(votes).items():
        found += [(name, said, with_figure(own, figure)) for said, figure in figures.items()]
        found.append((name, "oneself", with_oneself(own)))
    found += [(one, other, each) for (one, other), each in between_labellers(votes).items()]
    return [(who, whom, each) for who, whom, each in found if each is not None]


def plain_summary(votes: Sequence[Vote], scored: Mapping[str, Figure]) -> dict[str, Any]:
    """The same as plain data."""
    (_, columns, rows), *_ = tables_of(votes, scored)
    labellers = [dict(zip(columns, msgspec.to_builtins(row), strict=True)) for row in rows]
    found = [{"who": who, "with": whom, **asdict(each)} for who, whom, each in agreements(votes, scored)]
    return {"votes": len(votes), "labellers": labellers, "agreement": found}


def _by_labeller(votes: Sequence[Vote]) -> dict[str, list[Vote]]:
    found: dict[str, list[Vote]] = {}
    for vote in votes:
        found.setdefault(vote.labeller, []).append(vote)
    return found


def _counts(votes: Sequence[Vote]) -> list[Any]:
    """Votes, pairs, those that prefer neither, repeats, and how often what stood left was preferred."""
    lefts = sum(vote.verdict == "left" for vote in votes)
    decided = lefts + sum(vote.verdict == "right" for vote in votes)
    repeats = sum(bool(vote.repeat_of) for vote in votes)
    pairs = len({vote.pair for vote in votes})
    return [len(votes), pairs, len(votes) - decided, repeats, share(lefts, decided)]


def _row(found: Agreement) -> list[Any]:
    return [found.count, found.accuracy, found.kappa]
