"""Responses to the same prompts: of runs, of steps of one run, or of policies of one evaluation; two or three sides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.sample_query import Query, select, steps_of
from rlhf_sdk.events import PROBE_TAG, Sample

MEASURES = ("gold", "score")
ORDERS = ("largest gain", "largest loss", "prompt")
MOST_SIDES = 3

When = int | Literal["only", "first", "newest"]
"""Samples of one step; of several steps the first or the newest of each prompt; of the one step there is: "only"."""


@dataclass(frozen=True)
class Side:
    """What one policy wrote: the samples of a run with one tag, as they are when asked for."""

    run_id: str
    tag: str
    when: When
    run: OpenRun = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        if self.when == "only":
            return self.tag
        return f"{self.tag} step {self.when}" if isinstance(self.when, int) else f"{self.tag} {self.when}"

    @property
    def kind(self) -> str:
        """What sides must have in common to be worth comparing: a temperature, say."""
        return self.tag.rpartition("/")[2]

    @property
    def label(self) -> str:
        return f"{self.run_id} {self.name}"

    def rows(self) -> dict[int, int]:
        """The sample of each prompt: key of the prompt (`Columns.prompts`) to row, oldest first."""
        samples, resumed = self.run.samples, self.run.live.summary.resumed_samples
        step = self.when if isinstance(self.when, int) else None
        found = select(samples, Query("newest", tag=self.tag, step=step), resumed)
        rows: dict[int, int] = {}
        for row in reversed(found):
            prompt = int(samples.columns.prompts[row])
            if not (self.when == "first" and prompt in rows):
                rows[prompt] = row
        return rows

    def sample(self, row: int) -> Sample | None:
        return self.run.samples.sample(row)

    def figure(self, name: str, row: int) -> float:
        """NaN where the sample has none."""
        column = self.run.samples.columns.figures.get(name)
        return math.nan if column is None else column[row]


@dataclass(frozen=True)
class Match:
    """One prompt with a response of each side; `gain`: the last one's measure less the first one's, if both have it."""

    prompt: int
    rows: tuple[int, ...]
    gain: float | None


def labels_of(sides: Sequence[Side]) -> tuple[str, ...]:
    """What tells the sides apart: tag and step of one run, else the runs too, of one pipeline its stages."""
    runs = {side.run_id for side in sides}
    if len(runs) == 1:
        return tuple(side.name for side in sides)
    pipelines = {run.rpartition(".")[0] for run in runs}
    shared = f"{pipelines.pop()}." if len(pipelines) == 1 else ""
    return tuple(side.label.removeprefix(shared) for side in sides)


def sides_of(run: OpenRun) -> list[Side]:
    """A side for each tag; of one with samples at several steps the first and newest of each prompt, and each step."""
    samples, run_id, sides = run.samples, run.live.record.id, list[Side]()
    for tag in samples.columns.tag_names:
        steps = steps_of(samples, tag)
        whens: list[When] = ["first", "newest", *steps] if len(steps) > 1 else ["only"]
        sides += [Side(run_id, tag, when, run) for when in whens]
    return sides


def matches_of(sides: Sequence[Side], order: str) -> list[Match]:
    """The prompts that all have, in the order asked for; without a measure in the first side's order.

    Nothing of a prompt where all sides mean the same sample.
    """
    rows = [side.rows() for side in sides]
    common = [prompt for prompt in rows[0] if all(prompt in others for others in rows[1:])]
    found = [_match(sides, prompt, tuple(each[prompt] for each in rows)) for prompt in common]
    matches = [match for match in found if not _is_one_sample(sides, match)]
    if order == "prompt":
        return matches
    sign = -1.0 if order == "largest gain" else 1.0
    return sorted(matches, key=lambda match: math.inf if match.gain is None else sign * match.gain)


def left_out(sides: Sequence[Side]) -> list[list[str]]:
    """Of each side the prompts that not all sides have, in its own order."""
    rows = [side.rows() for side in sides]
    common = set(rows[0]).intersection(*rows[1:])
    alone = [[row for prompt, row in each.items() if prompt not in common] for each in rows]
    samples = [[side.sample(row) for row in found] for side, found in zip(sides, alone, strict=True)]
    return [[sample.prompt for sample in found if sample is not None] for found in samples]


def _is_one_sample(sides: Sequence[Side], match: Match) -> bool:
    return len({(side.run_id, row) for side, row in zip(sides, match.rows, strict=True)}) == 1


def measure_of(sides: Sequence[Side], matches: Sequence[Match]) -> str:
    """What the gains are of; empty where there are none."""
    ends = [(sides[0], match.rows[0], sides[-1], match.rows[-1]) for match in matches if match.gain is not None]
    known = (
        name
        for first, row, last, last_row in ends
        for name in MEASURES
        if not math.isnan(last.figure(name, last_row) - first.figure(name, row))
    )
    return next(known, "")


def _match(sides: Sequence[Side], prompt: int, rows: tuple[int, ...]) -> Match:
    for name in MEASURES:
        gain = sides[-1].figure(name, rows[-1]) - sides[0].figure(name, rows[0])
        if not math.isnan(gain):
            return Match(prompt, rows, gain)
    return Match(prompt, rows, None)


@dataclass(frozen=True)
class Means:
    """Of one side over the prompts compared: means of its figures, and the share that ended with EOS."""

    figures: dict[str, float]
    ended: float


def means_of(sides: Sequence[Side], matches: Sequence[Match]) -> list[Means]:
    return [_means(side, [match.rows[place] for match in matches]) for place, side in enumerate(sides)]


def _means(side: Side, rows: list[int]) -> Means:
    columns = side.run.samples.columns
    known = {
        name: [value for row in rows if not math.isnan(value := column[row])]
        for name, column in columns.figures.items()
    }
    figures = {name: math.fsum(values) / len(values) for name, values in known.items() if values}
    return Means(figures, sum(columns.ended[row] for row in rows) / max(len(rows), 1))


def good_first_choice(sides: Sequence[Side]) -> tuple[Side, ...]:
    """Sides with prompts in common: the newest of each of several runs, else the first two of a kind (a temperature,
    say), else the first two. Those of the probe, whose prompts are always the same, go before others."""
    whole = [side for side in sides if not isinstance(side.when, int)]
    whole.sort(key=lambda side: side.tag != PROBE_TAG)
    if len({side.run_id for side in whole}) > 1:
        newest = [side for side in whole if side.when != "first"]
        found = _sharing(newest, lambda left, right: left.run_id != right.run_id)
        if found:
            return _with_third(found, newest)
    found = _sharing(whole, lambda left, right: left.kind == right.kind)
    return found or tuple(sides[:2])


def _sharing(sides: Sequence[Side], alike: Callable[[Side, Side], bool]) -> tuple[Side, ...]:
    return next((pair for pair in combinations(sides, 2) if alike(*pair) and matches_of(pair, "prompt")), ())


def _with_third(pair: tuple[Side, ...], sides: Sequence[Side]) -> tuple[Side, ...]:
    """A side of a third run that has prompts in common with both, if there is one."""
    runs = {side.run_id for side in pair}
    others = (side for side in sides if side.run_id not in runs)
    return next(((*pair, other) for other in others if matches_of((*pair, other), "prompt")), pair)
