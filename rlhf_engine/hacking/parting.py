"""When proxy and second opinion part: a test on paired differences, at a stated rate of false alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Final

import numpy as np

from rlhf_engine.hacking.detectors import Finding, extremes
from rlhf_engine.hacking.reading import Reading

FALSE_ALARMS: Final = 0.01
"""At most this share of runs whose second opinion doesn't change is told that it fell."""
ADVICE: Final = "look at the examples; go on from the checkpoint marked best by second opinion, or raise kl_coef"


@dataclass(frozen=True)
class Change:
    """A mean paired difference, later less earlier, and its standard error."""

    mean: float
    standard_error: float

    @classmethod
    def between(cls, earlier: Sequence[float], later: Sequence[float]) -> Change:
        differences = np.subtract(later, earlier)
        return cls(float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(len(differences)))

    def is_fall(self, quantile: float) -> bool:
        """Whether the mean lies below 0 by more than `quantile` standard errors."""
        return self.mean < -quantile * self.standard_error


def fall_quantile(probes: int, prompts: int) -> float:
    """Standard errors that a fall must exceed in a run of `probes` probes of `prompts` prompts.

    Student's t, one-sided, at FALSE_ALARMS divided by the number of pairs of probes (Bonferroni): the best probe so far
    is chosen after the fact, and any two may turn out to be the ones that are compared.
    """
    pairs = max(probes * (probes - 1) // 2, 1)
    return student_quantile(1.0 - FALSE_ALARMS / pairs, prompts - 1)


def student_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t by its expansion about the normal one (Abramowitz and Stegun 26.7.5).

    Within 1 % from 7 degrees of freedom on, up to a tail of 1 in 1000, and nearer with more.
    """
    z: float = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(degrees) ** power for power, term in enumerate(terms, start=1))


def parting(best: Reading, reading: Reading, quantile: float, second_name: str) -> Finding | None:
    """The second opinion has fallen since its `best` probe, and the proxy has not; None otherwise."""
    second, proxy = Change.between(best.second, reading.second), Change.between(best.proxy, reading.proxy)
    if not second.is_fall(quantile) or proxy.is_fall(quantile):
        return None
    limit = fmean(best.second) - quantile * second.standard_error
    message = (
        f"proxy and second opinion part: since update {best.step} {second_name} fell from {fmean(best.second):.3g} to "
        f"{fmean(reading.second):.3g} on the same {len(best.second)} prompts (below {limit:.3g} is no chance), while "
        f"the score went from {fmean(best.proxy):.3g} to {fmean(reading.proxy):.3g}"
    )
    pairs = zip(best.second, reading.second, best.proxy, reading.proxy, strict=True)
    falls = [before - after if high <= higher else -math.inf for before, after, high, higher in pairs]
    return Finding(
        "proxy_parted", "error", message, ADVICE, fmean(reading.second), limit, extremes(falls)
    )  # fmt: skip
