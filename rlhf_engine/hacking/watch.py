"""What a run's probes have found so far: baseline, best, newest, the curve, and which trouble was told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rlhf_engine.hacking.curve import Curve, Point
from rlhf_engine.hacking.detectors import Finding, judged
from rlhf_engine.hacking.parting import fall_quantile, parting
from rlhf_engine.hacking.reading import Reading


@dataclass
class HackingWatch:
    """The state of a run of `planned_probes` probes, the baseline before the first update among them.

    `trouble` has the codes that are firing: each is told once, and again only after it has recovered.
    """

    planned_probes: int
    second_name: str
    baseline: Reading | None = None
    best: Reading | None = None
    newest: Reading | None = None
    curve: Curve = field(default_factory=Curve)
    trouble: set[str] = field(default_factory=set)

    def observe(self, reading: Reading) -> list[Finding]:
        """Takes in a probe; what it shows that was not told before."""
        self.newest = reading
        self.curve.points.append(Point.of(reading))
        if self.baseline is None or self.best is None:
            self.baseline = self.best = reading
            return []
        found = [*self._detected(reading, self.baseline), *self._parted(reading, self.best)]
        if reading.second and sum(reading.second) > sum(self.best.second):
            self.best = reading
        return found

    def _detected(self, reading: Reading, baseline: Reading) -> list[Finding]:
        found = []
        for detector in judged(baseline):
            if detector.fires_on(reading, baseline):
                if detector.code not in self.trouble:
                    self.trouble.add(detector.code)
                    found.append(detector.finding(reading, baseline))
            elif detector.has_recovered(reading, baseline):
                self.trouble.discard(detector.code)
        return found

    def _parted(self, reading: Reading, best: Reading) -> list[Finding]:
        if not reading.second:
            return []
        quantile = fall_quantile(self.planned_probes, len(reading.second))
        finding = parting(best, reading, quantile, self.second_name)
        if finding is None:
            self.trouble.discard("proxy_parted")
            return []
        told_before = finding.code in self.trouble
        self.trouble.add(finding.code)
        return [] if told_before else [finding]

    def remembered(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        readings = {name: getattr(self, name) for name in ("baseline", "best", "newest")}
        return {name: reading and asdict(reading) for name, reading in readings.items()} | {
            "points": [asdict(point) for point in self.curve.points],
            "trouble": sorted(self.trouble),
        }

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """The inverse of `remembered`."""
        for name in ("baseline", "best", "newest"):
            setattr(self, name, remembered[name] and Reading(**remembered[name]))
        self.curve = Curve([Point(**point) for point in remembered["points"]])
        self.trouble = set(remembered["trouble"])
