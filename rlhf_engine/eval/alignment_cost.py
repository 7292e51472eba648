"""What alignment costs: how likely each policy finds texts that it was not rewarded for, and how well it does there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_engine.eval.intervals import Interval, flat_figures
from rlhf_engine.eval.policies import Evaluator
from rlhf_engine.eval.table import Resampling
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.rollout import Rollout

TITLE = "Cost of alignment (NLL in nats per token of the references)"


SHOWN = "rouge_l"
"""The measure in the table; others are figures."""


@dataclass(frozen=True)
class OnTask:
    """One policy on N prompts with references: -log pi(reference) in `nats`, its `tokens`, and measures of samples.

    `measures` has a list [N] by name; it is empty where nothing was sampled.
    """

    nats: list[float]
    tokens: list[int]
    measures: dict[str, list[float]] = field(default_factory=dict)

    @property
    def nats_per_token(self) -> float:
        return float(np.sum(self.nats) / np.sum(self.tokens))


@torch.no_grad()
def on_references(evaluator: Evaluator, policy: PreTrainedModel) -> OnTask:
    """The references of the evaluator's prompts under `policy` at temperature 1, EOS included where it fits."""
    rollout = evaluator.reference_rollout()

    def of_rows(rows: Rollout) -> tuple[Tensor]:
        return (-response_logprobs(policy, rows).sum(dim=-1),)

    nats = evaluator.in_pieces(of_rows, rollout, phase="NLL of references")[0]
    return OnTask([float(value) for value in nats], [int(length) for length in rollout.response_lengths])


@dataclass(frozen=True)
class Task:
    """One set of references; every policy's outcome on it by name, the baseline's first."""

    name: str
    title: str
    outcomes: Mapping[str, OnTask]
    resampling: Resampling

    @property
    def _baseline(self) -> tuple[str, OnTask]:
        return next(iter(self.outcomes.items()))

    def rise_in_nll(self, policy: str) -> Interval | None:
        """Paired difference to the baseline in nats per token; None of the baseline itself."""
        (name, baseline), outcome = self._baseline, self.outcomes[policy]
        rises = np.subtract(outcome.nats, baseline.nats).tolist()
        return None if policy == name else self.resampling.ratio(rises, outcome.tokens)

    def gain(self, policy: str, measure: str) -> Interval | None:
        """Mean paired difference of a measure to the baseline; None of the baseline itself."""
        name, baseline = self._baseline
        differences = np.subtract(self.outcomes[policy].measures[measure], baseline.measures[measure])
        return None if policy == name else self.resampling.interval(differences.tolist())

    def cells(self, policy: str) -> dict[str, Any]:
        """Of the policy's row in the table."""
        outcome, (baseline, _) = self.outcomes[policy], self._baseline
        found: dict[str, Any] = {f"{self.title} NLL": outcome.nats_per_token}
        found[f"NLL less {baseline}'s, {self.title}"] = _text(self.rise_in_nll(policy))
        if SHOWN in outcome.measures:
            found[f"{self.title} ROUGE-L"] = float(np.mean(outcome.measures[SHOWN]))
            found[f"ROUGE-L less {baseline}'s, {self.title}"] = _text(self.gain(policy, SHOWN))
        return found

    def figures(self, policy: str) -> dict[str, float]:
        """As "ppo/cost/held_out_nats_per_token"; differences to the baseline with _low and _high."""
        outcome, (baseline, _) = self.outcomes[policy], self._baseline
        intervals = {f"{self.name}_nats_per_token_less_{baseline}": self.rise_in_nll(policy)}
        means = {f"{self.name}_nats_per_token": outcome.nats_per_token}
        for measure, values in outcome.measures.items():
            means[f"{self.name}_{measure}"] = float(np.mean(values))
            intervals[f"{self.name}_{measure}_less_{baseline}"] = self.gain(policy, measure)
        return {f"{policy}/cost/{name}": value for name, value in (means | flat_figures(intervals)).items()}


def cost_table(tasks: Sequence[Task]) -> dict[str, Any]:
    """A row for each policy, the baseline's first; NLL in nats per token of the references."""
    cells = [
        {"policy": policy} | {name: cell for task in tasks for name, cell in task.cells(policy).items()}
        for policy in tasks[0].outcomes
    ]
    columns = list(cells[0])
    return {"title": TITLE, "columns": columns, "rows": [[row[column] for column in columns] for row in cells]}


def cost_figures(tasks: Sequence[Task]) -> dict[str, float]:
    """Of all policies on all tasks."""
    return {name: value for task in tasks for policy in task.outcomes for name, value in task.figures(policy).items()}


def _text(interval: Interval | None) -> str | None:
    return None if interval is None else str(interval)
