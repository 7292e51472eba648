"""The reward model's accuracy on held-out comparisons, beside baselines on the same pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rlhf_engine.config import DataConfig, EvalConfig
from rlhf_engine.data.api import comparison_groups_from_records, load_comparisons
from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.data.world_comparisons import label_world_comparisons
from rlhf_engine.errors import DataError
from rlhf_engine.eval.baselines import AccuracyReport, labelled_pairs, pair_correctness, rankers_correctness
from rlhf_engine.eval.policies import Evaluator
from rlhf_engine.reward_modeling import score_groups
from rlhf_engine.scalar_models import ScalarModel

WORLD = ["world"]
SCORED_GROUPS = 8


KeepSkipped = Callable[[Any, str], Any]
"""`EngineTrainer.keep_skipped`: notes what was left out, and returns the examples."""


def accuracy_report(
    reward_model: ScalarModel, evaluator: Evaluator, config: EvalConfig, keep_skipped: KeepSkipped
) -> AccuracyReport:
    """Scores `config.comparisons`, and fits the linear baseline to `config.train_comparisons` where given.

    Raises DataError without a pair.
    """

    def groups_of(data: DataConfig, name: str) -> Sequence[ComparisonGroup]:
        if data.source == WORLD:
            return world_groups(data, evaluator, config)
        kept: Sequence[ComparisonGroup] = keep_skipped(
            load_comparisons(data, evaluator.tokenizer, hooks=evaluator.hooks), name
        )
        return kept

    groups = groups_of(config.comparisons, "held-out comparisons")
    train_groups = groups_of(config.train_comparisons, "train comparisons") if config.train_comparisons.source else []
    with evaluator.hooks.phase("held-out accuracy"):
        scores = score_groups(
            reward_model,
            groups,
            micro_batch_size=SCORED_GROUPS,
            compute=config.precision.compute,
            hooks=evaluator.hooks,
        )
    pairs = labelled_pairs(groups)
    if not pairs:
        raise DataError(f"eval.comparisons: {config.comparisons.source} has no pair that can be used")
    correctness = rankers_correctness(pair_correctness(groups, scores), pairs, labelled_pairs(train_groups))
    return AccuracyReport(pairs, correctness, config.bootstrap, config.seed)


def world_groups(data: DataConfig, evaluator: Evaluator, config: EvalConfig) -> Sequence[ComparisonGroup]:
    """Comparisons that the built-in world's annotators label on samples of the baseline."""
    records = label_world_comparisons(
        evaluator.baseline,
        evaluator.tokenizer,
        data,
        config.world,
        batch_size=config.batch_size,
        hooks=evaluator.hooks,
    )
    labelled: Sequence[ComparisonGroup] = comparison_groups_from_records(records, data, evaluator.tokenizer)
    return labelled
