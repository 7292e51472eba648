"""How far two judges agree: people with people, a judge with people, a reward model with a judge."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf_engine.eval.intervals import Interval

Label = Hashable
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """`accuracy` is the share of equal labels, `kappa` what is beyond chance (Cohen 1960); `left_out` lack a label."""

    accuracy: Interval
    kappa: Interval
    count: int
    left_out: int


def agreement(
    ours: Sequence[Label | None],
    theirs: Sequence[Label | None],
    clusters: Sequence[Hashable],
    *,
    resamples: int,
    seed: int,
) -> Agreement | None:
    """Of two judges' labels [N], with 95 % percentile intervals over resampled clusters [N]; None labels are left out.

    None where no row has both labels. Where chance alone would agree always, kappa is not defined: nan.
    """
    rows = [row for row in zip(ours, theirs, clusters, strict=True) if row[0] is not None and row[1] is not None]
    if not rows:
        return None
    tables = _tables(rows)
    rng = np.random.default_rng(seed)
    drawn = (tables[rng.integers(len(tables), size=len(tables))].sum(axis=0) for _ in range(resamples))
    resampled = np.array([(_accuracy(table), cohens_kappa(table)) for table in drawn])
    whole = tables.sum(axis=0)
    return Agreement(
        accuracy=_interval(_accuracy(whole), resampled[:, 0]),
        kappa=_interval(cohens_kappa(whole), resampled[:, 1]),
        count=len(rows),
        left_out=len(ours) - len(rows),
    )


def cohens_kappa(table: Floats) -> float:
    """(observed - chance) / (1 - chance) of counts [K, K], one judge's labels by the other's; nan where chance is 1."""
    total = table.sum()
    chance = float((table.sum(axis=0) / total) @ (table.sum(axis=1) / total))
    return (_accuracy(table) - chance) / (1.0 - chance) if chance < 1.0 else float("nan")


def _accuracy(table: Floats) -> float:
    return float(np.trace(table) / table.sum())


def _tables(rows: Sequence[tuple[Label | None, Label | None, Hashable]]) -> Floats:
    """How often each pair of labels occurs, by cluster [C, K, K]."""
    labels: dict[Label | None, int] = {}
    clusters: dict[Hashable, int] = {}
    places = [
        (
            clusters.setdefault(cluster, len(clusters)),
            labels.setdefault(a, len(labels)),
            labels.setdefault(b, len(labels)),
        )
        for a, b, cluster in rows
    ]
    tables = np.zeros((len(clusters), len(labels), len(labels)))
    np.add.at(tables, tuple(np.array(places).T), 1.0)
    return tables


def _interval(value: float, resampled: Floats) -> Interval:
    known = resampled[~np.isnan(resampled)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return Interval(value, float(low), float(high))
