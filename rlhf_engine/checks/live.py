"""The lights of a run at work: what they remember, and which have changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from rlhf_engine.checks.rules import Light, Rule, judge

RECENT = 20
"""Updates that a running median or mean looks back on."""
FEWEST = 5
"""Updates that a running median needs."""


class LiveLights:
    """Judges the figures of each update of a run of `total_updates`.

    What the medians, means and first values are made of goes into checkpoints (`remembered`), so that a resumed run
    judges as the straight one does. Which states were told does not: after a resume each light is told once more.
    """

    def __init__(self, rules: Sequence[Rule], total_updates: int) -> None:
        self.rules, self.total_updates = rules, total_updates
        self.lights: dict[str, Light] = {}
        self._recent: dict[str, list[float]] = {}
        self._first: dict[str, float] = {}

    def observe(self, figures: Mapping[str, float], update: int) -> list[Light]:
        """The lights that are new, or in another state than before `update` (from 1); `figures` by metric name."""
        changed = []
        for rule in self.rules:
            if rule.figure in figures and rule.applies(update, self.total_updates):
                judged = self._judged(rule, figures[rule.figure])
                if judged is not None:
                    changed += self._told(judge(rule, judged))
        self._remember(figures)
        return changed

    def _told(self, light: Light) -> list[Light]:
        before = self.lights.get(light.name)
        self.lights[light.name] = light
        return [] if before is not None and before.state == light.state else [light]

    def _judged(self, rule: Rule, value: float) -> float | None:
        """What is held against the thresholds; None while there is too little to compare with."""
        recent = self._recent.get(rule.figure, [])
        if rule.judged == "over_first":
            first = self._first.get(rule.figure, value)
            return value / first if first else 0.0
        if rule.judged == "over_median":
            return value / max(median(recent), rule.least_median) if len(recent) >= FEWEST else None
        if rule.judged == "recent_mean":
            return fmean([*recent, value]) if len(recent) + 1 >= RECENT else None
        return value

    def _remember(self, figures: Mapping[str, float]) -> None:
        for name in dict.fromkeys(rule.figure for rule in self.rules if rule.judged != "value"):
            value = figures.get(name, math.nan)
            if math.isfinite(value):
                self._first.setdefault(name, value)
                self._recent[name] = [*self._recent.get(name, []), value][-(RECENT - 1) :]

    def remembered(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {"first": self._first, "recent": self._recent}

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """The inverse of `remembered`."""
        self._first, self._recent = dict(remembered["first"]), dict(remembered["recent"])
