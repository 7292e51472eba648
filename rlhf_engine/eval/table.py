"""Policies side by side: figures by name, and one table for each temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlhf_engine.eval.intervals import Interval, flat_figures, mean_interval, ratio_interval, wins
from rlhf_engine.eval.policies import Responses
from rlhf_engine.eval.text_metrics import distinct_n, edit_diversity

REFERENCE = "reference"
TEXT_COLUMNS = {
    "ROUGE-1": "rouge_1",
    "ROUGE-2": "rouge_2",
    "words vs reference": "length_ratio",
    "distinct-1": "distinct_1",
    "distinct-2": "distinct_2",
    "edit diversity": "edit_diversity",
    "coverage": "coverage",
    "density": "density",
    "repetition": "repetition",
}
COSTS = ("training (CPU s)", "100 samples (CPU s)")


@dataclass(frozen=True)
class Resampling:
    """How intervals are made: `posts` [N] names each prompt's cluster."""

    posts: Sequence[str]
    resamples: int
    seed: int

    def interval(self, values: Sequence[float]) -> Interval:
        return mean_interval(values, self.posts, resamples=self.resamples, seed=self.seed)

    def ratio(self, values: Sequence[float], sizes: Sequence[float]) -> Interval:
        """Of sum(values) / sum(sizes), both [N]."""
        return ratio_interval(values, sizes, self.posts, resamples=self.resamples, seed=self.seed)


def judge_of(responses: Responses) -> tuple[str, list[float]]:
    """What decides which response is better: gold where there is one, else the proxy, else nothing ("", [])."""
    if responses.gold:
        return "gold", responses.gold
    return ("proxy", responses.proxy) if responses.proxy else ("", [])


def win_rate(responses: Responses, others: Responses, resampling: Resampling) -> Interval | None:
    """Share of prompts where `responses` are better than `others`, ties one half; None where nothing can judge."""
    scores, other_scores = judge_of(responses)[1], judge_of(others)[1]
    return resampling.interval(wins(scores, other_scores).tolist()) if scores else None


def gain_in_score_std(responses: Responses, baseline: Responses, resampling: Resampling) -> Interval | None:
    """Mean of the paired proxy differences, in standard deviations of the proxy over the baseline's own responses."""
    spread = float(np.std(baseline.proxy)) if baseline.proxy else 0.0
    if spread == 0.0:
        return None
    differences = np.asarray(responses.proxy) - np.asarray(baseline.proxy)
    return resampling.interval(differences.tolist()).scaled(1.0 / spread)


def means(responses: Responses) -> dict[str, float]:
    """Mean of each measure that there is, by the name of its figure; KL with its standard error."""
    lists: dict[str, Sequence[float]] = {
        "gold_mean": responses.gold,
        "proxy_mean": responses.proxy,
        "kl_sequence_nats": responses.kl_nats,
        "rouge_l": responses.rouge_l,
        "eos_share": responses.ended,
        "tokens_mean": responses.tokens,
        "title_copying": responses.title_copying,
    }
    found = {name: float(np.mean(values)) for name, values in (lists | responses.text).items() if values}
    found |= {"distinct_1": distinct_n(responses.texts, 1), "distinct_2": distinct_n(responses.texts, 2)}
    found["edit_diversity"] = edit_diversity(responses.texts)
    if len(responses.kl_nats) > 1:
        error = np.std(responses.kl_nats, ddof=1) / np.sqrt(len(responses.kl_nats))
        found["kl_sequence_nats_standard_error"] = float(error)
    if responses.kl_bound_nats is not None:
        found["kl_sequence_nats_bound"] = responses.kl_bound_nats
    if responses.sampling_cpu_seconds is not None:
        found["sampling_cpu_seconds_per_100"] = 100 * responses.sampling_cpu_seconds / len(responses.texts)
    return found


@dataclass(frozen=True)
class Comparison:
    """Every policy's responses at one temperature, the baseline's first, and the references where there are any.

    `training_cpu_seconds` of a policy counts the runs that it came from too; policies from elsewhere have none.
    """

    temperature: float
    policies: Mapping[str, Responses]
    references: Responses | None
    resampling: Resampling
    training_cpu_seconds: Mapping[str, float]

    @property
    def baseline(self) -> str:
        return next(iter(self.policies))

    def intervals(self, name: str) -> dict[str, Interval | None]:
        """Win rates, and the paired gain of the proxy over the baseline, of the row `name`."""
        responses = self._rows()[name]
        found: dict[str, Interval | None] = {}
        if name != self.baseline:
            found[f"win_rate_vs_{self.baseline}"] = win_rate(responses, self._of_baseline, self.resampling)
            found["paired_gain_in_score_std"] = gain_in_score_std(responses, self._of_baseline, self.resampling)
        if name != REFERENCE and self.references is not None:
            found["win_rate_vs_reference"] = win_rate(responses, self.references, self.resampling)
        return found

    def figures(self) -> dict[str, float]:
        """Every number of every row, as "policy/temperature_1/gold_mean"; intervals with _low and _high."""
        flat: dict[str, float] = {}
        for name, responses in self._rows().items():
            figures = means(responses) | flat_figures(self.intervals(name))
            if name in self.training_cpu_seconds:
                figures["training_cpu_seconds"] = self.training_cpu_seconds[name]
            flat |= {f"{name}/temperature_{self.temperature:g}/{key}": value for key, value in figures.items()}
        return flat

    def table(self) -> dict[str, Any]:
        """{"title", "columns", "rows"}, win rates with their 95 % interval; columns without any value are left out."""
        cells = {name: self._cells(name, responses) for name, responses in self._rows().items()}
        columns = [column for column in self._columns() if any(row.get(column) is not None for row in cells.values())]
        return {
            "title": f"Temperature {self.temperature:g}" + (", greedy" if self.temperature == 0 else ""),
            "columns": ["policy", *columns],
            "rows": [[name, *(row.get(column) for column in columns)] for name, row in cells.items()],
        }

    @property
    def _of_baseline(self) -> Responses:
        return self.policies[self.baseline]

    def _rows(self) -> dict[str, Responses]:
        references = {} if self.references is None else {REFERENCE: self.references}
        return {**self.policies, **references}

    def _judged(self, other: str) -> str:
        return f"{judge_of(self._of_baseline)[0]} win rate vs {other}"

    def _columns(self) -> list[str]:
        first, last = ["gold", "proxy", "KL (nats/seq)"], ["ROUGE-L", "EOS", "tokens", "title copy", *COSTS]
        return [*first, self._judged(self.baseline), self._judged(REFERENCE), *last]

    def _cells(self, name: str, responses: Responses) -> dict[str, Any]:
        figures, intervals = means(responses), self.intervals(name)
        rates = {other: intervals.get(f"win_rate_vs_{other}") for other in (self.baseline, REFERENCE)}
        return {
            "gold": figures.get("gold_mean"),
            "proxy": figures.get("proxy_mean"),
            "KL (nats/seq)": _kl(figures),
            **{self._judged(other): str(rate) if rate else None for other, rate in rates.items()},
            "ROUGE-L": figures.get("rouge_l"),
            "EOS": figures["eos_share"],
            "tokens": figures["tokens_mean"],
            "title copy": figures.get("title_copying"),
            COSTS[0]: self.training_cpu_seconds.get(name),
            COSTS[1]: figures.get("sampling_cpu_seconds_per_100"),
        }


def text_table(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """What the words of every policy are like at each temperature; columns without any value are left out."""
    measured = {
        f"{name}, T = {comparison.temperature:g}": means(responses)
        for comparison in comparisons
        for name, responses in comparison.policies.items()
    }
    if comparisons[0].references is not None:
        measured[REFERENCE] = means(comparisons[0].references)
    columns = {title: key for title, key in TEXT_COLUMNS.items() if any(key in found for found in measured.values())}
    rows = [[name, *(found.get(key) for key in columns.values())] for name, found in measured.items()]
    return {"title": "Words", "columns": ["policy", *columns], "rows": rows}


def _kl(figures: Mapping[str, float]) -> float | str | None:
    """With its standard error; the baseline's is exactly 0."""
    bound, kl = figures.get("kl_sequence_nats_bound"), figures.get("kl_sequence_nats")
    if bound is not None:
        return f"<= {bound:.3g}"
    error = figures.get("kl_sequence_nats_standard_error")
    return f"{kl:.3f} +- {error:.3f}" if kl is not None and error else kl


def examples(prompts: Sequence[Any], policies: Mapping[str, Responses], count: int) -> list[dict[str, Any]]:
    """The first `count` prompts with their references and what every policy wrote."""
    return [
        {
            "prompt": prompt.text,
            "reference": prompt.reference,
            "responses": {name: responses.texts[row] for name, responses in policies.items()},
        }
        for row, prompt in enumerate(prompts[:count])
    ]
