"""People beside judges: how often people agree with one another, and judges and reward models with people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import isnan
from typing import Any

from rlhf_engine.data.people import MEAN, Kind, Label, People
from rlhf_engine.eval.agreement import Agreement, agreement
from rlhf_engine.eval.intervals import flat_figures

WORDS: dict[Kind, str] = {"choice": "people's choices", "rating": "people's ratings"}
COLUMNS = ["who", "with", "same outcome", "Cohen's kappa", "labels", "left out"]
Two = tuple[float | None, float | None, str]
"""Two outcomes of one pair of texts, and its post."""


@dataclass(frozen=True)
class Beside:
    """`judges`: by name the credit of each pair's first text, None without a vote; each [number of pairs]."""

    people: People
    judges: Mapping[str, Sequence[float | None]]
    resamples: int
    seed: int

    @cached_property
    def agreements(self) -> dict[tuple[str, str], Agreement]:
        """By who and with whom: people with other people first, then judges with people, then judges with judges."""
        kinds = [kind for kind in WORDS if any(label.kind == kind for label in self.people.labels)]
        found = {
            (WORDS[one], WORDS[other]): self._between(one, other) for n, one in enumerate(kinds) for other in kinds[n:]
        }
        for judge, credits in self.judges.items():
            found |= {(judge, WORDS[kind]): self._with_people(credits, kind) for kind in kinds}
        for (one, ours), (other, theirs) in combinations(self.judges.items(), 2):
            found[one, other] = list(zip(ours, theirs, self._posts, strict=True))
        measured = {between: self._measured(rows) for between, rows in found.items()}
        return {between: value for between, value in measured.items() if value is not None}

    @property
    def _posts(self) -> list[str]:
        return [pair.post for pair in self.people.pairs]

    def _between(self, one: Kind, other: Kind) -> list[Two]:
        """Every two labels of one pair that different people gave, each two once."""
        by_pair: dict[int, list[Label]] = {}
        for label in self.people.labels:
            by_pair.setdefault(label.pair, []).append(label)
        return [
            (first.credit, second.credit, self.people.pairs[pair].post)
            for pair, labels in by_pair.items()
            for first, second in _of_different_people(labels, one, other)
        ]

    def _with_people(self, credits: Sequence[float | None], kind: Kind) -> list[Two]:
        return [
            (credits[label.pair], label.credit, self.people.pairs[label.pair].post)
            for label in self.people.labels
            if label.kind == kind
        ]

    def _measured(self, rows: Sequence[Two]) -> Agreement | None:
        ours, theirs, posts = ([row[place] for row in rows] for place in range(3))
        return agreement(ours, theirs, posts, resamples=self.resamples, seed=self.seed)

    def table(self) -> dict[str, Any]:
        rows = [[who, whom, *_cells(found)] for (who, whom), found in self.agreements.items()]
        return {"title": "Agreement with people", "columns": COLUMNS, "rows": rows}

    def figures(self) -> dict[str, float]:
        """As "people/agreement_of_reward_model_with_choices", "people/kappa_of_...", with _low and _high."""
        flat: dict[str, float] = {}
        for (who, whom), found in self.agreements.items():
            name = f"{_key(who)}_with_{_key(whom)}"
            kappa = None if isnan(found.kappa.mean) else found.kappa
            flat |= flat_figures({f"people/agreement_of_{name}": found.accuracy, f"people/kappa_of_{name}": kappa})
            flat[f"people/labels_of_{name}"] = float(found.count)
        return flat


def _of_different_people(labels: Sequence[Label], one: Kind, other: Kind) -> list[tuple[Label, Label]]:
    if one == other:
        pairs = list(combinations([label for label in labels if label.kind == one and label.labeller != MEAN], 2))
    else:
        theirs = [label for label in labels if label.kind == other]
        pairs = [(ours, label) for ours in labels if ours.kind == one for label in theirs]
    return [(a, b) for a, b in pairs if not a.labeller or a.labeller != b.labeller]


def _cells(found: Agreement) -> list[Any]:
    kappa = None if isnan(found.kappa.mean) else str(found.kappa)
    return [str(found.accuracy), kappa, found.count, found.left_out]


def _key(name: str) -> str:
    return name.removeprefix("people's ").replace(" ", "_")
