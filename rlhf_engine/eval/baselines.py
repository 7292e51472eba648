"""Is a reward model more than a ruler: its accuracy beside rules and a linear model, on the same held-out pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion
from sklearn.preprocessing import FunctionTransformer

from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.eval.intervals import Floats, Interval, flat_figures, mean_interval, wins
from rlhf_engine.eval.policies import post_of
from rlhf_engine.eval.text_metrics import words

REWARD_MODEL = "reward model"
SIMILAR_LENGTH = 0.1
"""Pairs count as equally long when their lengths differ by less than this share of the longer one."""
INVERSE_PENALTY = 0.1
"""Of the linear baseline: what cross-validation by post chose among 0.001 to 10 on 10,048 TL;DR training pairs."""


@dataclass(frozen=True)
class LabelledPair:
    """Two responses to one post, and which of them people preferred."""

    post: str
    chosen: str
    rejected: str


def labelled_pairs(groups: Sequence[ComparisonGroup]) -> list[LabelledPair]:
    """Every labelled pair, in order of groups and their pairs."""
    return [
        LabelledPair(post_of(group.prompt), group.responses[chosen], group.responses[rejected])
        for group in groups
        for chosen, rejected in group.pairs
    ]


def pair_correctness(groups: Sequence[ComparisonGroup], scores: Sequence[Sequence[float]]) -> Floats:
    """1 for each labelled pair whose chosen response scores higher, one half for a tie, else 0; `scores` by group."""
    pairs = [
        (row[chosen], row[rejected])
        for group, row in zip(groups, scores, strict=True)
        for chosen, rejected in group.pairs
    ]
    return wins([chosen for chosen, _ in pairs], [rejected for _, rejected in pairs])


def longer_wins(pairs: Sequence[LabelledPair]) -> Floats:
    """Correctness of "the longer response, in characters, is better", ties one half."""
    return wins([len(pair.chosen) for pair in pairs], [len(pair.rejected) for pair in pairs])


def similar_length(pairs: Sequence[LabelledPair]) -> list[bool]:
    """Whether the lengths of each pair, in characters, differ by less than a tenth of the longer one."""
    lengths = [(len(pair.chosen), len(pair.rejected)) for pair in pairs]
    return [abs(a - b) < SIMILAR_LENGTH * max(a, b) for a, b in lengths]


class LinearPreference:
    """Bradley-Terry with a linear score of TF-IDF features and length: logistic regression on feature differences."""

    def __init__(self, pairs: Sequence[LabelledPair], *, max_features: int = 20_000) -> None:
        """Fits to at least two pairs."""
        tfidf = TfidfVectorizer(
            tokenizer=words, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True, max_features=max_features
        )
        self._features = FeatureUnion([("tfidf", tfidf), ("length", FunctionTransformer(_log_lengths))])
        self._features.fit([text for pair in pairs for text in (pair.chosen, pair.rejected)])
        # Every other pair is turned round, so that there are two classes; without intercept that changes nothing else.
        signs = np.where(np.arange(len(pairs)) % 2, -1, 1)
        turned = self._differences(pairs).multiply(signs[:, None])
        self._regression = LogisticRegression(C=INVERSE_PENALTY, fit_intercept=False, max_iter=1000).fit(turned, signs)

    def correctness(self, pairs: Sequence[LabelledPair]) -> Floats:
        """1 for each pair whose chosen response has the higher score, one half for a tie, else 0."""
        margins = self._regression.decision_function(self._differences(pairs))
        return wins(margins.tolist(), [0.0] * len(pairs))

    def _differences(self, pairs: Sequence[LabelledPair]) -> Any:
        chosen = self._features.transform([pair.chosen for pair in pairs])
        return (chosen - self._features.transform([pair.rejected for pair in pairs])).tocsr()


def _log_lengths(texts: Sequence[str]) -> Floats:
    return np.log1p([[float(len(text))] for text in texts])


def rankers_correctness(
    reward_model: Floats, pairs: Sequence[LabelledPair], train_pairs: Sequence[LabelledPair]
) -> dict[str, Floats]:
    """Correctness of each ranker on the same pairs [N]; the linear one only where there are `train_pairs`."""
    longer = longer_wins(pairs)
    rankers = {REWARD_MODEL: reward_model, "longer wins": longer, "shorter wins": 1.0 - longer}
    return rankers | ({"TF-IDF": LinearPreference(train_pairs).correctness(pairs)} if train_pairs else {})


@dataclass(frozen=True)
class AccuracyReport:
    """Held-out accuracy of several rankers with intervals clustered by post."""

    pairs: Sequence[LabelledPair]
    correctness: Mapping[str, Floats]
    resamples: int
    seed: int

    def accuracy(self, ranker: str) -> Interval:
        return self._interval(self.correctness[ranker], [True] * len(self.pairs))

    def accuracy_at_similar_length(self, ranker: str) -> Interval | None:
        """On pairs of similar length; None if there are none."""
        kept = similar_length(self.pairs)
        return self._interval(self.correctness[ranker], kept) if any(kept) else None

    def lead(self, ranker: str) -> Interval:
        """How much more accurate the reward model is, paired."""
        return self._interval(self.correctness[REWARD_MODEL] - self.correctness[ranker], [True] * len(self.pairs))

    def table(self) -> dict[str, Any]:
        """One row for each ranker, accuracies with their 95 % interval."""
        similar = sum(similar_length(self.pairs))
        return {
            "title": f"Reward model on {len(self.pairs)} held-out pairs ({similar} of similar length)",
            "columns": ["ranker", "accuracy", "at similar length", "reward model's lead"],
            "rows": [
                [
                    ranker,
                    str(self.accuracy(ranker)),
                    _cell(self.accuracy_at_similar_length(ranker)),
                    None if ranker == REWARD_MODEL else str(self.lead(ranker)),
                ]
                for ranker in self.correctness
            ],
        }

    def figures(self) -> dict[str, float]:
        """ "reward_model/accuracy", "baseline/longer", ...; intervals with _low and _high."""
        found: dict[str, Interval | None] = {
            "reward_model/accuracy": self.accuracy(REWARD_MODEL),
            "reward_model/accuracy_similar_length": self.accuracy_at_similar_length(REWARD_MODEL),
        }
        for ranker, name in {"longer wins": "longer", "shorter wins": "shorter", "TF-IDF": "tfidf"}.items():
            if ranker in self.correctness:
                found[f"baseline/{name}"] = self.accuracy(ranker)
                found[f"reward_model/lead_over_{name}"] = self.lead(ranker)
        counts = {
            "reward_model/pairs": len(self.pairs),
            "reward_model/pairs_similar_length": sum(similar_length(self.pairs)),
        }
        return {name: float(count) for name, count in counts.items()} | flat_figures(found)

    def _interval(self, values: Floats, kept: Sequence[bool]) -> Interval:
        posts = [pair.post for pair, keep in zip(self.pairs, kept, strict=True) if keep]
        return mean_interval(values[np.array(kept)], posts, resamples=self.resamples, seed=self.seed)


def _cell(interval: Interval | None) -> str | None:
    return str(interval) if interval else None
