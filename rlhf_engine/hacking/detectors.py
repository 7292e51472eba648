"""What a hacked reward looks like in the responses. Every threshold is a shift from the SFT policy's own figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal

import numpy as np

from rlhf_engine.hacking.reading import Reading

Severity = Literal["info", "warning", "error"]
EXAMPLES: Final = 3


@dataclass(frozen=True)
class Finding:
    """Something that a person should look at; `rows` are the prompts of the probe that show it best."""

    code: str
    severity: Severity
    message: str
    advice: str
    figure: float
    threshold: float
    rows: list[int]


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Fires where the mean of `figure` has left the SFT policy's mean, on the same prompts, by the largest of:

    `deviations` times the standard deviation of the SFT policy's single responses, `least` in the figure's own unit,
    and `share` of the SFT policy's mean.
    """

    code: str
    figure: str
    fires: Literal["above", "below"] = "above"
    deviations: float = 0.0
    least: float = 0.0
    share: float = 0.0
    meaning: str
    advice: str

    @property
    def sign(self) -> int:
        return 1 if self.fires == "above" else -1

    def threshold(self, baseline: Reading) -> float:
        values = self.values(baseline)
        mean = fmean(values)
        return mean + self.sign * max(self.deviations * float(np.std(values)), self.least, self.share * mean)

    def values(self, reading: Reading) -> list[float]:
        """The figure of each response; empty where it is not known."""
        values: list[float] = getattr(reading, self.figure)
        return values

    def fires_on(self, reading: Reading, baseline: Reading) -> bool:
        return self._beyond(fmean(self.values(reading)), self.threshold(baseline))

    def has_recovered(self, reading: Reading, baseline: Reading) -> bool:
        """Whether the figure has come at least half of the way back from the threshold: one that wavers stays told."""
        half_way = (fmean(self.values(baseline)) + self.threshold(baseline)) / 2
        return not self._beyond(fmean(self.values(reading)), half_way)

    def _beyond(self, figure: float, limit: float) -> bool:
        return self.sign * (figure - limit) > 0

    def finding(self, reading: Reading, baseline: Reading) -> Finding:
        now, before, limit = fmean(self.values(reading)), fmean(self.values(baseline)), self.threshold(baseline)
        message = (
            f"{self.meaning}: {now:.3g} on the probe after update {reading.step}, {self.fires} the threshold "
            f"{limit:.3g}; the SFT policy has {before:.3g} on the same prompts"
        )
        rows = extremes([self.sign * value for value in self.values(reading)])
        return Finding(self.code, "warning", message, self.advice, now, limit, rows)


def extremes(values: Sequence[float]) -> list[int]:
    """The rows of the highest few, the first of equals."""
    return sorted(range(len(values)), key=lambda row: (-values[row], row))[:EXAMPLES]


DETECTORS: Final = (
    Detector(
        code="title_copying",
        figure="title_copying",
        deviations=1.0,
        least=0.2,
        meaning="longest run of words shared with the title, as a share of the title",
        advice="look at what the reward model gives a bare title; annotators may have skimmed",
    ),
    Detector(
        code="extraction",
        figure="coverage",
        deviations=1.5,
        least=0.2,
        meaning="share of a response's words that are copied from the post",
        advice="compare the reward model's scores of copied and of rewritten sentences",
    ),
    Detector(
        code="long_extracts",
        figure="density",
        deviations=2.0,
        least=2.0,
        meaning="mean length in words of the copied run that a word stands in (density)",
        advice="compare the reward model's scores of copied and of rewritten sentences",
    ),
    Detector(
        code="repetition",
        figure="repetition",
        deviations=2.0,
        least=0.1,
        meaning="share of three-word runs that a response repeats",
        advice="raise kl_coef, and look at whether the reward model punishes repetition at all",
    ),
    Detector(
        code="longer_responses",
        figure="tokens",
        deviations=1.5,
        share=0.5,
        meaning="tokens of a response",
        advice="hold the reward model's score against length (`rlhf run eval` with what = reward_model)",
    ),
    Detector(
        code="shorter_responses",
        figure="tokens",
        fires="below",
        deviations=1.0,
        share=0.4,
        meaning="tokens of a response",
        advice="look at whether short responses say less, and at missing_eos_value",
    ),
    Detector(
        code="eos_collapse",
        figure="ended",
        fires="below",
        deviations=1.0,
        least=0.15,
        meaning="share of responses that end with EOS",
        advice="make a missing EOS cost more than it brings (missing_eos, missing_eos_value), or raise response_tokens",
    ),
    Detector(
        code="entropy_collapse",
        figure="entropy_nats",
        fires="below",
        share=0.8,
        meaning="entropy of the next token in nats",
        advice="lower the learning rate or raise kl_coef: a policy that is sure of every token explores nothing",
    ),
    Detector(
        code="one_phrase",
        figure="shared_phrase",
        least=0.35,
        meaning="share of responses that have the most common four words in common",
        advice="score responses with and without that phrase; the reward model may like it anywhere",
    ),
    Detector(
        code="beyond_reward_range",
        figure="beyond_range",
        least=0.2,
        meaning="share of scores outside the range that the reward model gave to held-out comparisons",
        advice="raise kl_coef: nobody has ever compared such responses, so their scores mean little",
    ),
)


def judged(reading: Reading) -> tuple[Detector, ...]:
    """The detectors whose figure is known."""
    return tuple(detector for detector in DETECTORS if detector.values(reading))
