"""The reward model's accuracy on held-out comparisons, beside baselines on the same pairs."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_engine.config import DataConfig, EvalConfig
from rlhf_engine.data.api import comparison_groups_from_records, load_comparisons
from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.data.world_comparisons import label_world_comparisons
from rlhf_engine.errors import DataError
from rlhf_engine.eval.baselines import AccuracyReport, labelled_pairs, pair_correctness, rankers_correctness
from rlhf_engine.eval.policies import Evaluator
from rlhf_engine.models import ScalarModel
from rlhf_engine.reward_modeling import score_groups

WORLD = ["world"]
SCORED_GROUPS = 8


def accuracy_report(reward_model: ScalarModel, evaluator: Evaluator, config: EvalConfig) -> AccuracyReport:
    """Scores `config.comparisons`, and fits the linear baseline to `config.train_comparisons` where given.

    Raises DataError without a pair.
    """
    groups = load_groups(config.comparisons, evaluator, config)
    train_groups = load_groups(config.train_comparisons, evaluator, config) if config.train_comparisons.source else []
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


def load_groups(data: DataConfig, evaluator: Evaluator, config: EvalConfig) -> Sequence[ComparisonGroup]:
    """Comparisons from data, or labelled by the built-in world's annotators on samples of the baseline."""
    if data.source != WORLD:
        groups: Sequence[ComparisonGroup] = load_comparisons(data, evaluator.tokenizer, hooks=evaluator.hooks)
        return groups
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
