"""The reward model's accuracy on held-out comparisons, beside baselines on the same pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_engine.config import DataConfig, EvalConfig
from rlhf_engine.data.api import comparison_groups_from_records, load_comparisons
from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.data.world_comparisons import label_world_comparisons
from rlhf_engine.errors import ConfigError, DataError
from rlhf_engine.eval.baselines import AccuracyReport, labelled_pairs, pair_correctness, rankers_correctness
from rlhf_engine.eval.policies import Evaluator
from rlhf_engine.hooks import Hooks
from rlhf_engine.reward_modeling import score_groups
from rlhf_engine.scalar_models import ScalarModel

WORLD = ["world"]
SCORED_GROUPS = 8


KeepSkipped = Callable[[Any, str], Any]
"""`EngineTrainer.keep_skipped`: notes what was left out, and returns the examples."""


@dataclass(frozen=True)
class Comparisons:
    """`eval.comparisons` and `eval.train_comparisons`; the built-in world's are on samples of `policy`."""

    config: EvalConfig
    tokenizer: PreTrainedTokenizerBase
    policy: PreTrainedModel | None
    hooks: Hooks
    keep_skipped: KeepSkipped

    def held_out(self) -> Sequence[ComparisonGroup]:
        """Raises DataError without a pair."""
        groups = self._groups(self.config.comparisons, "held-out comparisons")
        if not labelled_pairs(groups):
            raise DataError(f"eval.comparisons: {self.config.comparisons.source} has no pair that can be used")
        return groups

    def training(self) -> Sequence[ComparisonGroup]:
        """None where there is no source."""
        data = self.config.train_comparisons
        return self._groups(data, "train comparisons") if data.source else []

    def _groups(self, data: DataConfig, name: str) -> Sequence[ComparisonGroup]:
        if data.source == WORLD:
            return self._world_groups(data)
        kept: Sequence[ComparisonGroup] = self.keep_skipped(
            load_comparisons(data, self.tokenizer, hooks=self.hooks), name
        )
        return kept

    def _world_groups(self, data: DataConfig) -> Sequence[ComparisonGroup]:
        if self.policy is None:
            raise ConfigError("eval.policies: the built-in world's comparisons are on samples of a policy; name it")
        records = label_world_comparisons(
            self.policy,
            self.tokenizer,
            data,
            self.config.world,
            batch_size=self.config.batch_size,
            hooks=self.hooks,
        )
        labelled: Sequence[ComparisonGroup] = comparison_groups_from_records(records, data, self.tokenizer)
        return labelled


def accuracy_report(
    reward_model: ScalarModel, evaluator: Evaluator, config: EvalConfig, keep_skipped: KeepSkipped
) -> AccuracyReport:
    """Scores `config.comparisons`, and fits the linear baseline to `config.train_comparisons` where given.

    Raises DataError without a pair.
    """
    comparisons = Comparisons(config, evaluator.tokenizer, evaluator.baseline, evaluator.hooks, keep_skipped)
    groups = comparisons.held_out()
    with evaluator.hooks.phase("held-out accuracy"):
        scores = score_groups(
            reward_model,
            groups,
            micro_batch_size=SCORED_GROUPS,
            compute=config.precision.compute,
            hooks=evaluator.hooks,
        )
    pairs = labelled_pairs(groups)
    train_pairs = labelled_pairs(comparisons.training())
    correctness = rankers_correctness(pair_correctness(groups, scores), pairs, train_pairs)
    return AccuracyReport(pairs, correctness, config.bootstrap, config.seed)
