"""Labelled pairs with what a reward model says of them, cut by confidence, length and source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.data.world import Post, gold_score
from rlhf_engine.eval.baselines import LabelledPair
from rlhf_engine.eval.calibration import Bools
from rlhf_engine.eval.intervals import Floats, wins
from rlhf_engine.eval.policies import post_of
from rlhf_engine.scalar_heads import disagreement, ensemble_scores

SOURCE_COLUMNS = ("source", "policy", "model")
LENGTH_EDGES = (0.0, 0.1, 0.3, 0.6, 1.0)
"""Of |difference| in characters as a share of the longer response."""


@dataclass(frozen=True)
class ScoredPairs:
    """N pairs; `chosen` and `rejected` [N, n] are the normalised scores of the n heads.

    `gain` is that of the normalisation: margins / gain are in the units of the training loss, whatever the scores'
    scale. `sources` says who wrote a pair ("" where the rows don't tell); `gold_margins` is gold of chosen less
    rejected, empty outside the built-in world.
    """

    pairs: Sequence[LabelledPair]
    chosen: Floats
    rejected: Floats
    gain: float
    ensemble_penalty: float
    sources: Sequence[str]
    gold_margins: Sequence[float]

    @classmethod
    def of(
        cls,
        groups: Sequence[ComparisonGroup],
        head_scores: Sequence[torch.Tensor],
        *,
        gain: float,
        ensemble_penalty: float,
    ) -> ScoredPairs:
        """From each group's scores [K, n]."""
        rows = [
            (group, scores, *pair) for group, scores in zip(groups, head_scores, strict=True) for pair in group.pairs
        ]
        return cls(
            [LabelledPair(post_of(group.prompt), group.responses[a], group.responses[b]) for group, _, a, b in rows],
            np.array([scores[a].tolist() for _, scores, a, _ in rows]),
            np.array([scores[b].tolist() for _, scores, _, b in rows]),
            gain,
            ensemble_penalty,
            [source_of(group, a, b) for group, _, a, b in rows],
            [margin for group, _, a, b in rows for margin in _gold_margin(group, a, b)],
        )

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        arrays = {"chosen": self.chosen.tolist(), "rejected": self.rejected.tolist()}
        return {**vars(self), "pairs": [asdict(pair) for pair in self.pairs], **arrays}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ScoredPairs:
        pairs = [LabelledPair(**pair) for pair in plain["pairs"]]
        arrays = {"chosen": np.array(plain["chosen"]), "rejected": np.array(plain["rejected"])}
        return cls(**{**plain, "pairs": pairs, **arrays})

    @property
    def posts(self) -> list[str]:
        return [pair.post for pair in self.pairs]

    @property
    def heads(self) -> int:
        return int(self.chosen.shape[1])

    @property
    def chosen_scores(self) -> Floats:
        return self._scores(self.chosen)

    @property
    def rejected_scores(self) -> Floats:
        return self._scores(self.rejected)

    @property
    def margins(self) -> Floats:
        """Chosen less rejected score, [N]."""
        return self.chosen_scores - self.rejected_scores

    @property
    def margins_in_nats(self) -> Floats:
        """As the loss saw them: sigmoid of it is the model's probability of the label."""
        return self.margins / self.gain

    @property
    def correctness(self) -> Floats:
        """1 where the chosen response scores higher, one half for a tie, else 0."""
        return wins(self.chosen_scores.tolist(), self.rejected_scores.tolist())

    @property
    def head_correctness(self) -> list[Floats]:
        """Each head's."""
        return [wins(a.tolist(), b.tolist()) for a, b in zip(self.chosen.T, self.rejected.T, strict=True)]

    @property
    def margin_disagreements(self) -> Floats:
        """Standard deviation over the heads of each pair's margin, [N]."""
        found: Floats = disagreement(torch.from_numpy(self.chosen - self.rejected)).numpy()
        return found

    @property
    def length_differences(self) -> Floats:
        """Characters of the chosen response less those of the rejected one, as a share of the longer, [N]."""
        lengths = [(len(pair.chosen), len(pair.rejected)) for pair in self.pairs]
        return np.array([(a - b) / max(a, b, 1) for a, b in lengths])

    @property
    def by_gold(self) -> tuple[Floats, Bools]:
        """Correctness against gold [M] of the pairs whose gold differs, and which of the N pairs those are [N]."""
        gold = np.array(self.gold_margins)
        differ = gold != 0
        return wins((self.margins * np.sign(gold))[differ].tolist(), [0.0] * int(differ.sum())), differ

    def _scores(self, by_head: Floats) -> Floats:
        found: Floats = ensemble_scores(torch.from_numpy(by_head), penalty=self.ensemble_penalty).numpy()
        return found


def source_of(group: ComparisonGroup, chosen: int, rejected: int) -> str:
    """Who wrote the two responses, by the row's `sources` (one for each response), else its source, policy or model."""
    record = group.prompt.record
    sources = record.get("sources")
    if isinstance(sources, list) and len(sources) == len(group.responses):
        return " against ".join(sorted({str(sources[chosen]), str(sources[rejected])}))
    return next((str(record[name]) for name in SOURCE_COLUMNS if record.get(name)), "")


def _gold_margin(group: ComparisonGroup, chosen: int, rejected: int) -> list[float]:
    if "latents" not in group.prompt.record:
        return []
    post = Post.from_record(group.prompt.record)
    return [gold_score(post, group.responses[chosen]) - gold_score(post, group.responses[rejected])]


def strata_by_length(pairs: ScoredPairs) -> dict[str, Bools]:
    """By how much the lengths differ, and by which of the two people preferred."""
    differences = pairs.length_differences
    size = np.abs(differences)
    strata: dict[str, Bools] = {}
    for low, high in pairwise(LENGTH_EDGES):
        strata[f"lengths differ by {low:.0%} to {high:.0%}"] = (size >= low) & ((size < high) | (high == 1.0))
    return strata | {"the longer one is preferred": differences > 0, "the shorter one is preferred": differences < 0}


def strata_by_source(pairs: ScoredPairs) -> dict[str, Bools]:
    """By who wrote the pair, most frequent first; none where the rows don't tell."""
    sources = np.array(pairs.sources)
    names, counts = np.unique(sources, return_counts=True)
    ordered = [str(names[i]) for i in np.argsort(-counts, kind="stable")]
    return {name: sources == name for name in ordered if name}


def strata_by_disagreement(pairs: ScoredPairs) -> dict[str, Bools]:
    """Thirds by how much the heads disagree on the margin; none for one head."""
    if pairs.heads == 1:
        return {}
    ranks = np.argsort(np.argsort(pairs.margin_disagreements, kind="stable"), kind="stable") * 3 // len(pairs.pairs)
    names = ("heads agree most", "heads agree less", "heads agree least")
    return {name: ranks == third for third, name in enumerate(names)}
