"""Pairs of responses for people to vote on: of policies, steps or runs, of a file, or those that a run asks about."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import msgspec

from rlhf_console.runs.pairs import Side, matches_of
from rlhf_console.runs.votes import source_of
from rlhf_sdk.asked_pairs import PAIRS_FILE
from rlhf_sdk.bounds import check_depth, open_plain
from rlhf_sdk.preferences import Source
from rlhf_sdk.trainer import UserError

Choice = Literal["random", "near_ties", "disagreement", "prompt"]
SCORE = "score"
SHAPES = "expected prompt and responses (a list of two), or prompt, chosen and rejected"


@dataclass(frozen=True)
class Pair:
    """Two responses to one prompt, in no order that means anything; `figures`: what is known of each.

    `disagreement`: standard deviation of the difference in score over a reward model's heads.
    """

    prompt: str
    responses: tuple[str, str]
    policies: tuple[str, str]
    sources: tuple[Source, Source] | None = None
    figures: tuple[Mapping[str, float], Mapping[str, float]] = field(default=({}, {}), compare=False)
    disagreement: float | None = None

    @property
    def key(self) -> tuple[str, frozenset[str]]:
        """As `Vote.pair`."""
        return self.prompt, frozenset(self.responses)

    @property
    def margin(self) -> float | None:
        """Between the scores; None where not both are known."""
        first, second = self.figures
        return second[SCORE] - first[SCORE] if SCORE in first and SCORE in second else None


def pairs_of_sides(sides: Sequence[Side]) -> list[Pair]:
    """Every two sides on every prompt that they share, once; none whose responses are the same or empty."""
    found: dict[object, Pair] = {}
    for left, right in combinations(sides, 2):
        for match in matches_of((left, right), "prompt"):
            first, second = left.sample(match.rows[0]), right.sample(match.rows[1])
            if first is None or second is None:
                continue
            pair = Pair(
                first.prompt,
                (first.response, second.response),
                (left.label, right.label),
                (source_of(left, first), source_of(right, second)),
                (first.metrics, second.metrics),
            )
            if can_be_told_apart(pair):
                found.setdefault(pair.key, pair)
    return list(found.values())


def can_be_told_apart(pair: Pair) -> bool:
    texts = {response.strip() for response in pair.responses}
    return len(texts) == 2 and "" not in texts


def pairs_of_file(path: Path) -> list[Pair]:
    """Those of a file that can be told apart, once. Raises `UserError` naming file and row of what is no pair."""
    return list({pair.key: pair for pair in read_pairs(path) if can_be_told_apart(pair)}.values())


def pairs_of_run(folder: Path) -> list[Pair]:
    """Those that a run asks about, in its `folder` of data; none where it asks nothing."""
    asked = folder / PAIRS_FILE
    return list(read_pairs(asked)) if asked.exists() else []


def read_pairs(path: Path) -> Iterator[Pair]:
    """One JSON object a line."""
    for row, line in _lines(path):
        try:
            fields = msgspec.json.decode(line, type=dict[str, Any])
            check_depth(fields)
            yield _pair_of(fields)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{row}: {error}; {SHAPES}") from None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with os.fdopen(open_plain(path), "rb") as stream:
            for row, line in enumerate(stream, 1):
                if line.strip():
                    yield row, line
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _pair_of(fields: Mapping[str, Any]) -> Pair:
    """Raises `ValueError`."""
    given = fields.get("responses", [fields.get("chosen"), fields.get("rejected")])
    prompt, responses = msgspec.convert((fields.get("prompt"), given), tuple[str, tuple[str, str]])
    names = msgspec.convert(fields.get("policies", ("", "")), tuple[str, str])
    disagreement = msgspec.convert(fields.get("disagreement"), float | None)
    scores = msgspec.convert(fields.get("scores"), tuple[float, float] | None)
    figures = ({}, {}) if scores is None else ({SCORE: scores[0]}, {SCORE: scores[1]})
    return Pair(prompt, responses, names, None, figures, disagreement)


def chosen_pairs(pairs: Sequence[Pair], choice: Choice, *, limit: int, seed: int) -> list[Pair]:
    """At most `limit` of them (0: all), in the order in which they are shown.

    "near_ties": smallest difference in score first; "disagreement": largest disagreement of the heads on it. Raises
    `UserError` where an order needs what is not known.
    """
    if choice == "prompt":
        ordered = list(pairs)
    elif choice == "random":
        ordered = sorted(
            pairs, key=lambda pair: random.Random(f"{seed}/{pair.prompt}/{sorted(pair.responses)}").random()
        )
    else:
        ordered = _by_disagreement(pairs) if choice == "disagreement" else _by_margin(pairs)
    return ordered[: limit or None]


def _by_disagreement(pairs: Sequence[Pair]) -> list[Pair]:
    known = [(-pair.disagreement, place, pair) for place, pair in enumerate(pairs) if pair.disagreement is not None]
    if not known:
        raise UserError("--choose disagreement: nothing is known of it; --rm RUN: a reward model with several heads")
    return [pair for _, _, pair in sorted(known)]


def _by_margin(pairs: Sequence[Pair]) -> list[Pair]:
    known = [(abs(pair.margin), place, pair) for place, pair in enumerate(pairs) if pair.margin is not None]
    if not known:
        raise UserError("--choose near_ties: the samples have no scores; --rm RUN has a reward model score them")
    return [pair for _, _, pair in sorted(known)]
