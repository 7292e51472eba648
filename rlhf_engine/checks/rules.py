"""A sanity light is one figure held against thresholds. The tables in docs/checks.md are made from the rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When the light `name` turns from ok to warn and fail.

    `figure` is the metric that is judged, with its unit. The light fires beyond `warn` and `fail`, which lie `above` or
    `below` what is healthy (None: no such state); a figure that is not finite always fails. `judged` says what is held
    against the thresholds: the value itself, its ratio to the run's first, its ratio to the median of the recent ones
    (taken as at least `least_median`), or the mean of the recent ones. `from_update` (counted from 1) and `from_share`
    of the run's updates must be reached before anything is judged; nothing is judged after `to_update`.
    """

    name: str
    figure: str
    fires: Literal["above", "below"] = "above"
    warn: float | None = None
    fail: float | None = None
    meaning: str
    look_at: str
    judged: Literal["value", "over_first", "over_median", "recent_mean"] = "value"
    least_median: float = 1e-8
    from_update: int = 1
    from_share: float = 0.0
    to_update: int | None = None

    def applies(self, update: int, total_updates: int) -> bool:
        """Whether `update` (from 1) is judged in a run of `total_updates`."""
        reached = update >= max(self.from_update, self.from_share * total_updates)
        return reached and (self.to_update is None or update <= self.to_update)

    @property
    def thresholds(self) -> str:
        """`warns above 0.3, fails above 0.5`"""
        limits = (("warns", self.warn), ("fails", self.fail))
        parts = [f"{verb} {self.fires} {limit:g}" for verb, limit in limits if limit is not None]
        return ", ".join(parts) or "fails if not finite"

    @property
    def healthy(self) -> str:
        """`at most 0.3`: what keeps the light ok."""
        limit = self.warn if self.warn is not None else self.fail
        if limit is None:
            return "finite"
        return f"at {'most' if self.fires == 'above' else 'least'} {limit:g}"


@dataclass(frozen=True)
class Light:
    """A rule's state at one moment; `tolerance` is the threshold that was crossed, or while ok the nearest one."""

    name: str
    state: State
    figure: float
    tolerance: float
    explanation: str


def judge(rule: Rule, figure: float) -> Light:
    """The light of `rule` at `figure`."""
    state = _state(rule, figure)
    limits = {"ok": (rule.warn, rule.fail), "warn": (rule.warn, rule.fail), "fail": (rule.fail, rule.warn)}[state]
    tolerance = next((limit for limit in limits if limit is not None), math.inf)
    advice = "" if state == "ok" else f"; first look at: {rule.look_at}"
    return Light(rule.name, state, figure, tolerance, f"{rule.meaning} ({rule.thresholds}){advice}")


def _state(rule: Rule, figure: float) -> State:
    if not math.isfinite(figure) or _beyond(rule, figure, rule.fail):
        return "fail"
    return "warn" if _beyond(rule, figure, rule.warn) else "ok"


def _beyond(rule: Rule, figure: float, limit: float | None) -> bool:
    if limit is None:
        return False
    return figure > limit if rule.fires == "above" else figure < limit
