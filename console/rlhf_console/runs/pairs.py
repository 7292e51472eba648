"""Responses of two sides to the same prompts: of two runs, two checkpoints, or two policies of one evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlhf_console.runs.focus import OpenRun
from rlhf_sdk.events import Sample

MEASURES = ("gold", "score")
ORDERS = ("largest gain", "largest loss", "prompt")


@dataclass(frozen=True)
class Side:
    """What one policy wrote, by prompt: the newest of each prompt, or those of one step."""

    run_id: str
    name: str
    samples: dict[str, Sample]

    @property
    def label(self) -> str:
        return f"{self.run_id} {self.name}"


@dataclass(frozen=True)
class Pair:
    """One prompt with both responses; `gain` is the right one's measure less the left one's, where both have it."""

    left: Sample
    right: Sample
    gain: float | None

    @property
    def prompt(self) -> str:
        return self.left.prompt


def labels_of(sides: tuple[Side, Side]) -> tuple[str, str]:
    """What tells the two apart: the policies of one run, else the runs too."""
    left, right = sides
    if left.run_id != right.run_id:
        return left.label, right.label
    return left.name, right.name


def sides_of(run: OpenRun) -> list[Side]:
    """A side for each tag of an evaluation; of training samples the first and the newest step."""
    by_tag: dict[str, list[Sample]] = {}
    for sample in run.samples:
        by_tag.setdefault(sample.tag, []).append(sample)
    run_id, sides = run.live.record.id, []
    for tag, samples in by_tag.items():
        steps = sorted({sample.step for sample in samples})
        for step in [None] if len(steps) == 1 else [steps[0], steps[-1]]:
            chosen = [sample for sample in samples if step is None or sample.step == step]
            sides.append(Side(run_id, tag if step is None else f"{tag} step {step}", by_prompt(chosen)))
    return sides


def by_prompt(samples: Iterable[Sample]) -> dict[str, Sample]:
    """The newest sample of each prompt."""
    return {sample.prompt: sample for sample in samples}


def pairs_of(left: Side, right: Side, order: str) -> list[Pair]:
    """The prompts that both have, in the order asked for; without a measure in the left side's order."""
    common = [prompt for prompt in left.samples if prompt in right.samples]
    pairs = [_pair(left.samples[prompt], right.samples[prompt]) for prompt in common]
    if order == "prompt":
        return pairs
    sign = -1.0 if order == "largest gain" else 1.0
    return sorted(pairs, key=lambda pair: sign * (pair.gain or 0.0))


def _pair(left: Sample, right: Sample) -> Pair:
    measure = next((name for name in MEASURES if name in left.metrics and name in right.metrics), None)
    return Pair(left, right, right.metrics[measure] - left.metrics[measure] if measure else None)


def good_first_choice(sides: Sequence[Side]) -> tuple[int, int]:
    """Two sides with prompts in common: the first, and the first other one of the same kind (temperature, say)."""
    for left, first in enumerate(sides):
        for right in range(left + 1, len(sides)):
            other = sides[right]
            alike = first.name.rpartition("/")[2] == other.name.rpartition("/")[2]
            if first.samples.keys() & other.samples.keys() and (alike or first.run_id != other.run_id):
                return left, right
    return 0, min(1, len(sides) - 1)
