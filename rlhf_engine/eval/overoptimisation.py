"""Proxy against gold over a PPO run: the proxy may rise on while gold has passed its peak (Gao et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlhf_engine.eval.gold_fit import fit_gold

WINDOW = 4


@dataclass(frozen=True)
class Curve:
    """Means over the `WINDOW` updates that end at each of `updates`; `gold` is empty outside the built-in world."""

    updates: list[int]
    proxy: list[float]
    gold: list[float]
    kl_nats: list[float]

    @property
    def peak(self) -> int | None:
        """Index of the highest gold, the first of equals; None without gold."""
        return int(np.argmax(self.gold)) if self.gold else None

    def figures(self) -> dict[str, float]:
        """First, final and peak values by name."""
        last = len(self.updates) - 1
        found = {"proxy_start": self.proxy[0], "proxy_final": self.proxy[last], "kl_final": self.kl_nats[last]}
        if self.peak is None:
            return found
        return (
            found
            | self.fitted()
            | {
                "gold_start": self.gold[0],
                "gold_peak": self.gold[self.peak],
                "gold_final": self.gold[last],
                "peak_update": float(self.updates[self.peak]),
            }
        )

    def fitted(self) -> dict[str, float]:
        """Gao et al.'s fit of gold over KL; nothing where there are too few points, no peak where it has none."""
        gains = [gold - self.gold[0] for gold in self.gold]
        if len({kl for kl in self.kl_nats if kl > 0}) < 2:
            return {}
        fit = fit_gold(self.kl_nats, gains, "rl")
        peak = {} if fit.peak_distance is None else {"gold_fit_peak_kl": fit.peak_distance**2}
        return {"gold_fit_alpha": fit.alpha, "gold_fit_beta": fit.beta} | peak

    def rows(self) -> list[list[Any]]:
        """[point, update, proxy, gold, KL] at the start, at gold's peak and at the end."""
        points = {"start": 0, "gold's peak": self.peak, "end": len(self.updates) - 1}
        return [
            [point, self.updates[i], self.proxy[i], self.gold[i] if self.gold else None, self.kl_nats[i]]
            for point, i in points.items()
            if i is not None
        ]


def overoptimisation(
    updates: Sequence[int], proxy: Sequence[float], gold: Sequence[float], kl_nats: Sequence[float]
) -> Curve:
    """The smoothed curve of a run from its figures at each update; `gold` may be empty.

    A run shorter than the window becomes one point. Raises ValueError for a run without updates.
    """
    if not updates:
        raise ValueError("no updates to make a curve of")
    return Curve(list(updates[min(WINDOW, len(updates)) - 1 :]), _smoothed(proxy), _smoothed(gold), _smoothed(kl_nats))


def _smoothed(values: Sequence[float]) -> list[float]:
    window = min(WINDOW, len(values))
    if window == 0:
        return []
    return [float(np.mean(values[end - window : end])) for end in range(window, len(values) + 1)]


def curves_table(curves: Mapping[str, Curve]) -> dict[str, Any]:
    """Three rows for each run."""
    return {
        "title": f"Proxy against gold (means of {WINDOW} updates)",
        "columns": ["run", "point", "update", "proxy", "gold", "KL (nats/seq)"],
        "rows": [[name, *row] for name, curve in curves.items() for row in curve.rows()],
    }


def curves_figures(curves: Mapping[str, Curve]) -> dict[str, float]:
    """Every curve's figures as "curve/<name>/gold_peak"."""
    return {f"curve/{run}/{name}": value for run, curve in curves.items() for name, value in curve.figures().items()}
