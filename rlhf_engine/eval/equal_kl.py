"""Best-of-n as the baseline at equal KL: what a policy gains beyond what its KL would have bought without training."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from rlhf_engine.eval.best_of_n import gain_at, kl_bound_nats
from rlhf_engine.eval.intervals import Interval, flat_figures
from rlhf_engine.eval.table import REFERENCE, Comparison, judge_of, means


class EqualKL:
    """Every policy whose KL is known, beside the best of n samples of the baseline at that KL, on the same prompts."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._measure = judge_of(comparison.policies[comparison.baseline])[0]
        known = [responses.gains_by_n for responses in comparison.policies.values() if responses.gains_by_n]
        self._by_n = max(known, key=lambda by_n: len(by_n[0]), default=[])

    def leads(self) -> Mapping[str, Interval | None]:
        """Mean paired lead over best-of-n by policy; None where n would have to be larger."""
        found: dict[str, Interval | None] = {}
        for name, responses in self._comparison.policies.items():
            if name in (self._comparison.baseline, REFERENCE) or not responses.kl_nats or not self._by_n:
                continue
            kl = means(responses)["kl_sequence_nats"]
            other = [gain_at(by_n, kl) for by_n in self._by_n]
            pairs = zip(judge_of(responses)[1], other, strict=True)
            leads = [gain - best for gain, best in pairs if best is not None]
            found[name] = self._comparison.resampling.interval(leads) if leads else None
        return found

    def tables(self) -> list[dict[str, Any]]:
        """One table, or none where no policy can be compared."""
        leads = self.leads()
        if not leads:
            return []
        largest = len(self._by_n[0])
        beyond = f"{fmean(by_n[-1] for by_n in self._by_n):.3f} at {kl_bound_nats(largest):.2f}, the largest n"
        rows = []
        for name, lead in leads.items():
            responses = self._comparison.policies[name]
            gain, kl = fmean(judge_of(responses)[1]), means(responses)["kl_sequence_nats"]
            rows.append([name, kl, gain, gain - lead.mean if lead else beyond, str(lead) if lead else None])
        columns = ["policy", "KL (nats/seq)", self._measure, f"{self._measure} of best-of-n at that KL", "lead"]
        title = "At equal KL, beside best-of-n of the baseline (its KL by the bound: exact without ties)"
        return [{"title": title, "columns": columns, "rows": rows}]

    def figures(self) -> dict[str, float]:
        """ "ppo/temperature_1/lead_over_best_of_n_at_equal_kl", with _low and _high."""
        place = f"temperature_{self._comparison.temperature:g}/lead_over_best_of_n_at_equal_kl"
        return flat_figures({f"{name}/{place}": lead for name, lead in self.leads().items()})
