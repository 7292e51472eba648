"""Proxy and second opinion over the distance from the SFT policy, with the fit of Gao et al. 2022."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Final

from rlhf_engine.eval.gold_fit import GoldFit, fit_gold
from rlhf_engine.hacking.detectors import judged
from rlhf_engine.hacking.reading import Reading

FEWEST_POINTS: Final = 4
"""Probes after the baseline that a fit of two coefficients needs to say anything."""
REACH: Final = 2.0
"""A peak further out than this is an extrapolation of noise."""


@dataclass(frozen=True)
class Point:
    """One probe's means; `second` is None where there is no second opinion."""

    step: int
    proxy: float
    second: float | None
    kl_nats: float
    kl_standard_error: float

    @classmethod
    def of(cls, reading: Reading) -> Point:
        second = fmean(reading.second) if reading.second else None
        return cls(reading.step, fmean(reading.proxy), second, fmean(reading.kl_nats), reading.kl_standard_error)

    @property
    def distance(self) -> float:
        """Square root of the KL in nats; the estimate of a KL near 0 may lie below it."""
        return math.sqrt(max(self.kl_nats, 0.0))


@dataclass
class Curve:
    """The probes of a run in order, the baseline first."""

    points: list[Point] = field(default_factory=list)

    @property
    def best(self) -> Point | None:
        """The probe with the highest second opinion, the first of equals."""
        judged_points = [point for point in self.points if point.second is not None]
        return max(judged_points, key=lambda point: point.second or 0.0) if judged_points else None

    @property
    def fit(self) -> GoldFit | None:
        """Of the second opinion; None while there are too few probes."""
        gains = self.gains()
        moved = {point.kl_nats for point in self.points if point.kl_nats > 0}
        if len(gains) <= FEWEST_POINTS or len(moved) < FEWEST_POINTS:
            return None
        return fit_gold([point.kl_nats for point in self.points], gains, "rl")

    def gains(self) -> list[float]:
        """The second opinion less the baseline's; empty without one."""
        seconds = [point.second for point in self.points if point.second is not None]
        return [second - seconds[0] for second in seconds]

    def metrics(self) -> dict[str, float]:
        """Where the fit has its peak; nothing where it has none within `REACH` times the KL that was seen."""
        peak = self.fit.peak_distance if self.fit else None
        reach = REACH * max(point.kl_nats for point in self.points)
        return {} if peak is None or peak**2 > reach else {"probe/fit_peak_kl_nats": peak**2}

    def table(self, checkpoints: Mapping[int, str]) -> dict[str, Any]:
        """A row for each probe; `checkpoints` has the names of those that are kept, by step."""
        start, best, fit = self.points[0].second, self.best, self.fit
        rows = [
            [
                point.step,
                point.distance,
                f"{point.kl_nats:.3f} +- {point.kl_standard_error:.3f}",
                point.proxy,
                point.second,
                start + fit.gain(point.distance) if fit and start is not None else None,
                checkpoints.get(point.step, ""),
                "best by second opinion" if point is best else "",
            ]
            for point in self.points
        ]
        columns = ["update", "sqrt(KL)", "KL (nats/seq)", "proxy", "second", "fit", "checkpoint", ""]
        return {"title": "Over-optimisation on the probe's prompts (KL +- standard error)", "columns": columns,
                "rows": rows}  # fmt: skip

    def figures(self) -> dict[str, float]:
        """Peak and fit by name."""
        found: dict[str, float] = {}
        if self.best and self.best.second is not None:
            found |= {"best_update": float(self.best.step), "best_second": self.best.second}
            found["best_kl_nats"] = self.best.kl_nats
        if self.fit:
            found |= {"fit_alpha": self.fit.alpha, "fit_beta": self.fit.beta}
        return found | {name.removeprefix("probe/"): value for name, value in self.metrics().items()}


def detectors_table(reading: Reading, baseline: Reading, trouble: set[str]) -> dict[str, Any]:
    """Every detector's figure on the newest probe beside its threshold."""
    rows = [
        [
            detector.code,
            fmean(detector.values(baseline)),
            fmean(detector.values(reading)),
            f"{detector.fires} {detector.threshold(baseline):.3g}",
            "fires" if detector.code in trouble else "",
        ]
        for detector in judged(baseline)
    ]
    columns = ["detector", "SFT policy", "now", "fires", "state"]
    return {"title": f"Detectors of reward hacking after update {reading.step}", "columns": columns, "rows": rows}
