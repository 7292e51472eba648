"""From what a judge answers about pairs to a win rate: both orders of each pair, and how sure the figure is.

Answers that differ between the two orders make a tie, a tie counts one half, an answer that can't be read is no vote.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, sqrt
from typing import Literal

import numpy as np

from rlhf_engine.eval.intervals import Interval, mean_interval

Choice = Literal["first", "second", "tie"]
NORMAL_95, NORMAL_80_POWER = 1.959964, 0.841621


@dataclass(frozen=True)
class Answer:
    """Of pair number `pair`, which of the two texts in the order shown is better; None could not be read."""

    pair: int
    own_first: bool
    choice: Choice | None

    @property
    def credit(self) -> float | None:
        """1 where the policy's own text won, 0 where it lost, one half for a tie; None is no vote."""
        if self.choice is None:
            return None
        return 0.5 if self.choice == "tie" else float((self.choice == "first") == self.own_first)


def outcomes(answers: Sequence[Answer], pairs: int) -> list[float | None]:
    """The policy's credit in each pair [N]: that of its answers where they agree, one half where they don't.

    None where there is no answer, or one that can't be read: its counterpart alone would carry the liking for a place.
    """
    credits: list[list[float | None]] = [[] for _ in range(pairs)]
    for answer in answers:
        credits[answer.pair].append(answer.credit)
    return [_settled(found) for found in credits]


def _settled(credits: Sequence[float | None]) -> float | None:
    if not credits or None in credits:
        return None
    return credits[0] if len(set(credits)) == 1 else 0.5


@dataclass(frozen=True)
class WinRate:
    """How often the policy's text is the better one.

    `no_vote` counts the pairs that are left out; `p_value` is that of the exact sign test over wins and losses, which
    takes the pairs as independent; `detectable` is the smallest distance from one half that so many pairs would show.
    """

    rate: Interval
    wins: int
    ties: int
    losses: int
    no_vote: int
    p_value: float
    detectable: float


def win_rate_of(
    credits: Sequence[float | None], clusters: Sequence[Hashable], *, resamples: int, seed: int
) -> WinRate | None:
    """Of the credits [N] of pairs whose prompts are `clusters` [N], with its 95 % interval; None without any vote."""
    voted = [(credit, cluster) for credit, cluster in zip(credits, clusters, strict=True) if credit is not None]
    if not voted:
        return None
    values = [credit for credit, _ in voted]
    wins, losses = values.count(1.0), values.count(0.0)
    return WinRate(
        rate=mean_interval(values, [cluster for _, cluster in voted], resamples=resamples, seed=seed),
        wins=wins,
        ties=len(values) - wins - losses,
        losses=losses,
        no_vote=len(credits) - len(values),
        p_value=sign_test(wins, losses),
        detectable=detectable_difference(values),
    )


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p-value of as uneven a split, were both as likely: McNemar's exact test of the discordant pairs."""
    decided = wins + losses
    tail = sum(comb(decided, k) for k in range(min(wins, losses) + 1))
    return min(1.0, float(2 * tail / 2**decided))


def detectable_difference(values: Sequence[float]) -> float:
    """The smallest distance of a mean from its hypothesis that N such values show in 4 of 5 trials at the 5 % level."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.5
    return (NORMAL_95 + NORMAL_80_POWER) * spread / sqrt(len(values))


@dataclass(frozen=True)
class PositionBias:
    """What the place does to the answers; None where there is nothing to tell it by.

    `rate_shown_first` and `rate_shown_second` are win rates of the policy's text by its place; `first_share` is how
    often the first text wins of the answers that are no ties; `consistent_share` how many pairs keep it when turned.
    """

    rate_shown_first: float | None
    rate_shown_second: float | None
    first_share: float | None
    consistent_share: float | None


def position_bias(answers: Sequence[Answer]) -> PositionBias:
    """Over the answers that can be read."""
    read = [answer for answer in answers if answer.credit is not None]
    decided = [answer.choice == "first" for answer in read if answer.choice != "tie"]
    both = [found for found in _by_pair(answers).values() if len(found) > 1 and None not in found]
    return PositionBias(
        rate_shown_first=_mean([answer.credit or 0.0 for answer in read if answer.own_first]),
        rate_shown_second=_mean([answer.credit or 0.0 for answer in read if not answer.own_first]),
        first_share=_mean(decided),
        consistent_share=_mean([len(set(found)) == 1 for found in both]),
    )


def _by_pair(answers: Sequence[Answer]) -> Mapping[int, list[float | None]]:
    found: dict[int, list[float | None]] = {}
    for answer in answers:
        found.setdefault(answer.pair, []).append(answer.credit)
    return found


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
