"""What there is to know of a reward model before PPO: tables, and every figure by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from rlhf_engine.checks.online import extreme_share
from rlhf_engine.eval.baselines import REWARD_MODEL, AccuracyReport
from rlhf_engine.eval.calibration import (
    Bools,
    ReliabilityBin,
    calibration_error_floor,
    confidences,
    expected_calibration_error,
    fit_temperature,
    half_of_posts,
    reliability,
)
from rlhf_engine.eval.intervals import Floats, Interval, flat_figures, mean_interval
from rlhf_engine.eval.scored_pairs import (
    ScoredPairs,
    strata_by_disagreement,
    strata_by_length,
    strata_by_source,
)

FLOOR_DRAWS = 200
CONFIDENT = 0.99
SAMPLES, REFERENCES = "SFT samples", "references"
NORMALISED_ON = {"bias_on_references": REFERENCES, "affine_on_sft_samples": SAMPLES}
QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class ScoredTexts:
    """Scores of responses of one kind, their lengths in characters, and gold in the built-in world."""

    scores: list[float]
    characters: list[int]
    ended: list[bool]
    gold: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Calibration:
    """Temperature from one half of the posts; everything else from the other half. `floor`: see `calibration`."""

    temperature: float
    error_before: float
    error: float
    floor: float
    bins: Sequence[ReliabilityBin]


@dataclass(frozen=True)
class RewardModelReport:
    """`texts`: references and SFT samples, where they were scored; `score_norm` as the reward model's config says."""

    pairs: ScoredPairs
    rankers: AccuracyReport
    texts: Mapping[str, ScoredTexts]
    score_norm: str
    resamples: int
    seed: int

    @cached_property
    def calibration(self) -> Calibration | None:
        """None where there are too few posts for two halves."""
        pairs, first = self.pairs, half_of_posts(self.pairs.posts, self.seed)
        if first.all() or not first.any():
            return None
        temperature = fit_temperature(pairs.margins_in_nats[first])
        margins, correct = pairs.margins_in_nats[~first], pairs.correctness[~first]
        confidence = confidences(margins, temperature)
        posts = [post for post, fitted in zip(pairs.posts, first, strict=True) if not fitted]
        return Calibration(
            temperature,
            error_before=expected_calibration_error(confidences(margins), correct),
            error=expected_calibration_error(confidence, correct),
            floor=calibration_error_floor(confidence, draws=FLOOR_DRAWS, seed=self.seed),
            bins=reliability(confidence, correct, posts, resamples=self.resamples, seed=self.seed),
        )

    def figures(self) -> dict[str, float]:
        return (
            self.rankers.figures()
            | self._lead_figures()
            | self._gold_figures()
            | self._calibration_figures()
            | self._length_figures()
            | self._saturation_figures()
            | self._disagreement_figures()
            | self._normalisation_figures()
            | {"reward_model/posts": float(len(set(self.pairs.posts)))}
        )

    def tables(self) -> list[dict[str, Any]]:
        found = [self.rankers.table(), self._gold_table(), self._calibration_table()]
        found += [self._strata_table("Accuracy by length", strata_by_length(self.pairs))]
        found += [self._strata_table("Accuracy by who wrote the pair", strata_by_source(self.pairs))]
        found += [self._strata_table("Accuracy by disagreement of the heads", strata_by_disagreement(self.pairs))]
        return [table for table in [*found, self._scores_table()] if table["rows"]]

    def _lead_figures(self) -> dict[str, float]:
        leads = [self.rankers.lead(name) for name in self.rankers.correctness if name != REWARD_MODEL]
        return {
            "reward_model/least_lead_low": min(lead.low for lead in leads),
            "reward_model/least_lead_high": min(lead.high for lead in leads),
        }

    def _gold_figures(self) -> dict[str, float]:
        found: dict[str, float] = {}
        if len(self.pairs.gold_margins):
            correct, differ = self.pairs.by_gold
            if len(correct):
                found = flat_figures({"reward_model/gold_accuracy": self._interval(correct, differ)})
        for name, texts in self.texts.items():
            if texts.gold:
                found[f"gold_correlation/{_key(name)}"] = _correlation(texts.scores, texts.gold)
        return found

    def _calibration_figures(self) -> dict[str, float]:
        calibration = self.calibration
        if calibration is None:
            return {}
        return {
            "calibration/temperature": calibration.temperature,
            "calibration/error_at_temperature_1": calibration.error_before,
            "calibration/error": calibration.error,
            "calibration/floor": calibration.floor,
            "calibration/excess_error": calibration.error - calibration.floor,
        }

    def _length_figures(self) -> dict[str, float]:
        """The correlation of pairs is about 0, not their means: which one is called chosen does not matter."""
        margins, differences = self.pairs.margins, self.pairs.length_differences
        unequal = differences != 0
        texts = [text for pair in self.pairs.pairs for text in (pair.chosen, pair.rejected)]
        scores = np.stack([self.pairs.chosen_scores, self.pairs.rejected_scores], axis=1).flatten()
        found = {
            "length/score_correlation": _correlation(scores.tolist(), [len(text) for text in texts]),
            "length/margin_correlation": _uncentred_correlation(margins, differences),
        }
        if unequal.any():
            people = float((differences[unequal] > 0).mean())
            model = float(np.mean((np.sign(margins * differences)[unequal] + 1.0) / 2.0))
            found |= {
                "length/longer_preferred_by_people": people,
                "length/longer_preferred_by_model": model,
                "length/preference_gap": abs(model - people),
            }
        return found

    def _saturation_figures(self) -> dict[str, float]:
        scores = np.concatenate([self.pairs.chosen_scores, self.pairs.rejected_scores])
        confident = confidences(self.pairs.margins_in_nats) > CONFIDENT
        return {
            "saturation/extreme_share": float(extreme_share(torch.from_numpy(scores))),
            "saturation/confident_share": float(confident.mean()),
        }

    def _disagreement_figures(self) -> dict[str, float]:
        if self.pairs.heads == 1:
            return {}
        mean = float(self.pairs.margin_disagreements.mean())
        accuracies = {
            f"head_{head}/accuracy": float(correct.mean())
            for head, correct in enumerate(self.pairs.head_correctness, 1)
        }
        size = float(np.abs(self.pairs.margins).mean())
        return accuracies | {"disagreement/mean": mean, "disagreement/share_of_margin": mean / max(size, 1e-12)}

    def _normalisation_figures(self) -> dict[str, float]:
        texts = self.texts.get(NORMALISED_ON.get(self.score_norm, ""))
        if texts is None:
            return {}
        mean, std = float(np.mean(texts.scores)), float(np.std(texts.scores))
        found = {"normalisation/mean_error": abs(mean) / max(std, 1e-12)}
        return found | (
            {"normalisation/std_error": abs(std - 1.0)} if NORMALISED_ON[self.score_norm] == SAMPLES else {}
        )

    def _calibration_table(self) -> dict[str, Any]:
        calibration = self.calibration
        rows = [
            [f"{part.low:.2f} to {part.high:.2f}", part.pairs, part.confidence, str(part.accuracy)]
            for part in (calibration.bins if calibration else [])
        ]
        title = "Calibration"
        if calibration:
            title = (
                f"Calibration: temperature {calibration.temperature:.2f} from half of the posts; on the other half the "
                f"error is {calibration.error:.3f} ({calibration.error_before:.3f} at temperature 1; "
                f"{calibration.floor:.3f} if it were perfect)"
            )
        return {"title": title, "columns": ["confidence", "pairs", "mean confidence", "accuracy"], "rows": rows}

    def _gold_table(self) -> dict[str, Any]:
        figures = self._gold_figures()
        rows: list[list[Any]] = [
            [f"correlation of score and gold on {name}", figures[f"gold_correlation/{_key(name)}"]]
            for name, texts in self.texts.items()
            if texts.gold
        ]
        if "reward_model/gold_accuracy" in figures:
            accuracy = self._interval(*self.pairs.by_gold)
            rows.insert(0, [f"accuracy on {len(self.pairs.by_gold[0])} pairs whose gold differs", str(accuracy)])
        return {"title": "Against gold", "columns": ["what", "figure"], "rows": rows}

    def _strata_table(self, title: str, strata: Mapping[str, Bools]) -> dict[str, Any]:
        rows = [
            [name, int(members.sum()), str(self._interval(self.pairs.correctness[members], members))]
            for name, members in strata.items()
            if members.any()
        ]
        return {"title": title, "columns": ["pairs", "number", "accuracy"], "rows": rows}

    def _scores_table(self) -> dict[str, Any]:
        pairs = self.pairs
        chosen, rejected = ([len(text) for text in texts] for texts in zip(*_texts(pairs), strict=True))
        every = {
            "chosen": ScoredTexts(pairs.chosen_scores.tolist(), chosen, []),
            "rejected": ScoredTexts(pairs.rejected_scores.tolist(), rejected, []),
            **self.texts,
        }
        rows = [[name, len(texts.scores), *_moments(texts), _ended(texts)] for name, texts in every.items()]
        norm = self.score_norm or "not known"
        columns = ["responses", "number", "mean", "std", "5 %", "median", "95 %", "correlation with length", "EOS"]
        return {"title": f"Scores (normalisation: {norm})", "columns": columns, "rows": rows}

    def _interval(self, values: Floats, members: Bools) -> Interval:
        posts = [post for post, member in zip(self.pairs.posts, members, strict=True) if member]
        return mean_interval(values, posts, resamples=self.resamples, seed=self.seed)


def _texts(pairs: ScoredPairs) -> list[tuple[str, str]]:
    return [(pair.chosen, pair.rejected) for pair in pairs.pairs]


def _moments(texts: ScoredTexts) -> list[float]:
    quantiles = np.quantile(texts.scores, QUANTILES)
    moments = [np.mean(texts.scores), np.std(texts.scores), *quantiles, _correlation(texts.scores, texts.characters)]
    return [float(moment) for moment in moments]


def _ended(texts: ScoredTexts) -> float | None:
    return float(np.mean(texts.ended)) if texts.ended else None


def _correlation(values: Sequence[float], others: Sequence[float]) -> float:
    """Pearson's; 0 where one of the two is constant."""
    a, b = (np.asarray(part, dtype=np.float64) - np.mean(part) for part in (values, others))
    return _uncentred_correlation(a, b)


def _uncentred_correlation(a: Floats, b: Floats) -> float:
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0


def _key(name: str) -> str:
    return name.lower().replace(" ", "_")
