"""One policy against another, or against the references, as a judge saw it: figures and a row of each table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan
from typing import Any

from rlhf_engine.eval.agreement import Agreement, agreement
from rlhf_engine.eval.intervals import Interval, flat_figures, wins
from rlhf_engine.eval.length_control import LengthBin, LengthControlled, by_length_ratio, length_controlled
from rlhf_engine.eval.pairwise import Answer, PositionBias, WinRate, outcomes, position_bias, win_rate_of
from rlhf_engine.eval.policies import Responses
from rlhf_engine.eval.table import Resampling

LENGTH_BINS = 5
FEWEST_CONSISTENT, FARTHEST_FROM_HALF = 0.5, 0.25
"""A judge with fewer pairs that keep their winner, and a first text that wins more often or seldom, is warned of."""
Table = dict[str, Any]


@dataclass(frozen=True)
class Match:
    """Responses of the policy `name` to the same N prompts as those of `other`, at one temperature."""

    name: str
    other: str
    temperature: float
    responses: Responses
    others: Responses
    resampling: Resampling

    @property
    def title(self) -> str:
        return f"{self.name} vs {self.other}"

    @property
    def figure_prefix(self) -> str:
        return f"judge/{self.name}/temperature_{self.temperature:g}"


@dataclass(frozen=True)
class Judged:
    """A match with the judge's answers about it: `pair` of an answer is the prompt's row."""

    match: Match
    answers: Sequence[Answer]

    @cached_property
    def credits(self) -> list[float | None]:
        return outcomes(self.answers, len(self.match.responses.texts))

    @cached_property
    def win_rate(self) -> WinRate | None:
        resampling = self.match.resampling
        return win_rate_of(self.credits, resampling.posts, resamples=resampling.resamples, seed=resampling.seed)

    @cached_property
    def bias(self) -> PositionBias:
        return position_bias(self.answers)

    @cached_property
    def at_equal_length(self) -> LengthControlled | None:
        """None where every difference in length is the same: then nothing tells what length does."""
        credits, own, others, posts = self._voted
        differences = {ours - theirs for ours, theirs in zip(own, others, strict=True)}
        return length_controlled(credits, own, others, posts) if len(differences) > 1 else None

    @cached_property
    def by_length(self) -> list[LengthBin]:
        if not self.win_rate:
            return []
        resampling, (credits, own, others, posts) = self.match.resampling, self._voted
        ratios = {ours / theirs for ours, theirs in zip(own, others, strict=True)}
        return by_length_ratio(
            credits,
            own,
            others,
            posts,
            bins=min(LENGTH_BINS, len(ratios)),
            resamples=resampling.resamples,
            seed=resampling.seed,
        )

    @cached_property
    def agreements(self) -> dict[str, Agreement]:
        """With gold and the reward model, where there are any: which response wins, or neither."""
        scores = {"gold": (self.match.responses.gold, self.match.others.gold)}
        scores["proxy"] = (self.match.responses.proxy, self.match.others.proxy)
        found = {name: self._agreement(ours, theirs) for name, (ours, theirs) in scores.items() if ours and theirs}
        return {name: value for name, value in found.items() if value is not None}

    def _agreement(self, ours: Sequence[float], theirs: Sequence[float]) -> Agreement | None:
        resampling, labels = self.match.resampling, wins(ours, theirs).tolist()
        return agreement(self.credits, labels, resampling.posts, resamples=resampling.resamples, seed=resampling.seed)

    @property
    def _voted(self) -> tuple[list[float], list[int], list[int], list[str]]:
        """Credits, lengths in tokens, the others' lengths and posts of the pairs that have a vote."""
        match = self.match
        rows = zip(self.credits, match.responses.tokens, match.others.tokens, match.resampling.posts, strict=True)
        voted = [(credit, own, other, post) for credit, own, other, post in rows if credit is not None]
        return [v[0] for v in voted], [v[1] for v in voted], [v[2] for v in voted], [v[3] for v in voted]

    def figures(self) -> dict[str, float]:
        """As "judge/ppo/temperature_1/win_rate_vs_sft"; intervals with _low and _high."""
        controlled, rate = self.at_equal_length, self.win_rate
        intervals: dict[str, Interval | None] = {
            "win_rate": rate.rate if rate else None,
            "length_controlled": controlled.rate if controlled else None,
        }
        for judge, found in self.agreements.items():
            intervals |= {f"agreement_with_{judge}": found.accuracy, f"kappa_with_{judge}": _defined(found.kappa)}
        numbers = flat_figures(intervals) | _numbers(rate, NUMBERS) | _numbers(self.bias, BIASES)
        prefix, end = self.match.figure_prefix, f"_vs_{self.match.other}"
        return {f"{prefix}/{name}{end}": value for name, value in numbers.items()}

    def row(self) -> list[Any]:
        """Of the table of win rates."""
        rate, controlled = self.win_rate, self.at_equal_length
        counts = [getattr(rate, name) if rate else None for name in NUMBERS]
        if rate is None:
            counts[NUMBERS.index("no_vote")] = len(self.credits)
        biases = [getattr(self.bias, name) for name in BIASES]
        return [
            self.match.title,
            _text(rate.rate if rate else None),
            *counts,
            _text(controlled.rate if controlled else None),
            *biases,
        ]


NUMBERS = ("wins", "ties", "losses", "no_vote", "p_value", "detectable")
BIASES = ("rate_shown_first", "rate_shown_second", "first_share", "consistent_share")
COLUMNS = [
    "policy",
    "win rate",
    "wins",
    "ties",
    "losses",
    "no vote",
    "sign test p",
    "detectable",
    "at equal length",
    "shown first",
    "shown second",
    "first wins",
    "consistent",
]


def _numbers(source: object, names: Sequence[str]) -> dict[str, float]:
    found = {name: getattr(source, name, None) for name in names}
    return {name: float(value) for name, value in found.items() if value is not None}


def _defined(interval: Interval) -> Interval | None:
    """Kappa has no value where chance alone would agree always."""
    return None if isnan(interval.mean) else interval


def _text(interval: Interval | None) -> str | None:
    return str(interval) if interval is not None else None


def liking_for_a_place(judged: Sequence[Judged]) -> str | None:
    """A warning where the place of a text decides more than the text; None otherwise."""
    answers, start = list[Answer](), 0
    for found in judged:
        answers += [replace(answer, pair=start + answer.pair) for answer in found.answers]
        start += len(found.match.responses.texts)
    bias = position_bias([answer for answer in answers if answer.choice not in (None, "tie")])
    first, consistent = bias.first_share, bias.consistent_share
    if first is None or consistent is None or consistent >= FEWEST_CONSISTENT or abs(first - 0.5) < FARTHEST_FROM_HALF:
        return None
    return (
        f"the text shown first won {first:.0%} of the decided answers, and {consistent:.0%} of the pairs kept their "
        "winner when turned: the judge goes by place, so its win rates near one half say little"
    )


def judged_tables(judge: str, judged: Sequence[Judged]) -> list[Table]:
    """Win rates by temperature; by how much longer a response is; agreement with gold and the reward model."""
    temperatures = dict.fromkeys(found.match.temperature for found in judged)
    tables = [
        {
            "title": f"Judged by {judge}, temperature {temperature:g}",
            "columns": COLUMNS,
            "rows": [found.row() for found in judged if found.match.temperature == temperature],
        }
        for temperature in temperatures
    ]
    return [*tables, _length_table(judge, judged), *_agreement_tables(judge, judged)]


def _length_table(judge: str, judged: Sequence[Judged]) -> Table:
    rows = [
        [found.match.title, f"{found.match.temperature:g}", f"{b.low:.2f} to {b.high:.2f}", b.count, str(b.rate)]
        for found in judged
        for b in found.by_length
    ]
    columns = ["policy", "temperature", "ln(length / other length)", "pairs", "win rate"]
    return {"title": f"Win rate by length, judged by {judge}", "columns": columns, "rows": rows}


def _agreement_tables(judge: str, judged: Sequence[Judged]) -> list[Table]:
    rows = [
        [found.match.title, f"{found.match.temperature:g}", other, *_agreement_cells(value)]
        for found in judged
        for other, value in found.agreements.items()
    ]
    columns = ["policy", "temperature", "with", "same outcome", "Cohen's kappa", "pairs", "left out"]
    return [{"title": f"Agreement of {judge}", "columns": columns, "rows": rows}] if rows else []


def _agreement_cells(found: Agreement) -> list[Any]:
    return [str(found.accuracy), _text(_defined(found.kappa)), found.count, found.left_out]


def figures_of(judged: Sequence[Judged]) -> Mapping[str, float]:
    """Of all matches."""
    return {name: value for found in judged for name, value in found.figures().items()}
