"""The figures of a reward model's report on planted scores, and the verdict on figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from rlhf_engine.config import ColumnConfig
from rlhf_engine.data.columns import unify
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.eval.baselines import AccuracyReport, LabelledPair, rankers_correctness
from rlhf_engine.eval.markdown import markdown_table, page
from rlhf_engine.eval.readiness import READINESS_RULES, verdict
from rlhf_engine.eval.reward_report import REFERENCES, SAMPLES, RewardModelReport, ScoredTexts
from rlhf_engine.eval.scored_pairs import ScoredPairs, source_of, strata_by_disagreement, strata_by_length

POSTS = 40


def pairs_of(
    chosen: Sequence[Sequence[float]],
    rejected: Sequence[Sequence[float]],
    lengths: Sequence[tuple[int, int]],
    *,
    gain: float = 1.0,
    penalty: float = 0.0,
    gold: Sequence[float] = (),
) -> ScoredPairs:
    """Pair i is on post i // 2; its texts have the given lengths."""
    texts = [LabelledPair(str(row // 2), "a" * first, "b" * second) for row, (first, second) in enumerate(lengths)]
    return ScoredPairs(texts, np.array(chosen), np.array(rejected), gain, penalty, ["x"] * len(texts), gold)


def report_of(pairs: ScoredPairs, score_norm: str = "", **texts: ScoredTexts) -> RewardModelReport:
    correctness = rankers_correctness(pairs.correctness, pairs.pairs, [])
    rankers = AccuracyReport(pairs.pairs, correctness, resamples=100, seed=0)
    return RewardModelReport(pairs, rankers, texts, score_norm, resamples=100, seed=0)


def ruler(count: int = 2 * POSTS) -> ScoredPairs:
    """A reward model that is the length, on pairs where people prefer the longer one in three of four."""
    rng = np.random.default_rng(0)
    lengths = [(30, 10 + int(rng.integers(10))) if row % 4 else (10, 25) for row in range(count)]
    scores = [([first / 10], [second / 10]) for first, second in lengths]
    return pairs_of([a for a, _ in scores], [b for _, b in scores], lengths)


def test_a_ruler_is_found_out() -> None:
    figures = report_of(ruler()).figures()
    assert figures["length/score_correlation"] == pytest.approx(1.0)
    assert figures["length/longer_preferred_by_people"] == 0.75
    assert figures["length/longer_preferred_by_model"] == 1.0
    assert figures["length/preference_gap"] == 0.25
    assert figures["reward_model/accuracy"] == 0.75
    assert figures["reward_model/least_lead_low"] == figures["reward_model/least_lead_high"] == 0.0
    assert verdict(figures).word != "ready"


def test_the_length_strata_part_the_pairs() -> None:
    pairs = ruler()
    strata = strata_by_length(pairs)
    by_size = [members for name, members in strata.items() if name.startswith("lengths")]
    assert (np.sum(by_size, axis=0) == 1).all()
    assert strata["the shorter one is preferred"].sum() == POSTS // 2
    table = next(table for table in report_of(pairs).tables() if table["title"] == "Accuracy by length")
    accuracies = {row[0]: row[2] for row in table["rows"]}
    assert accuracies["the longer one is preferred"].startswith("1.000")
    assert accuracies["the shorter one is preferred"].startswith("0.000")


def test_calibration_is_of_the_loss_s_margins_whatever_the_normalisation() -> None:
    rng = np.random.default_rng(1)
    margins = rng.normal(0.0, 2.0, size=4000)
    margins = np.where(rng.random(4000) < 1 / (1 + np.exp(-margins)), margins, -margins)
    scaled = pairs_of((5.0 * margins[:, None]).tolist(), [[0.0]] * 4000, [(5, 4)] * 4000, gain=5.0)
    figures = report_of(scaled).figures()
    assert figures["calibration/temperature"] == pytest.approx(1.0, abs=0.1)
    assert abs(figures["calibration/excess_error"]) < 0.02
    assert figures["calibration/error_at_temperature_1"] < 0.05


def test_gold_accuracy_counts_pairs_whose_gold_differs_whatever_the_label() -> None:
    pairs = pairs_of([[1.0], [1.0], [0.0], [0.0]], [[0.0]] * 4, [(3, 3)] * 4, gold=[1.0, -1.0, 2.0, 0.0])
    assert pairs.by_gold[0].tolist() == [1.0, 0.0, 0.5]
    assert report_of(pairs).figures()["reward_model/gold_accuracy"] == 0.5


def test_heads_that_disagree_are_seen_and_penalised() -> None:
    chosen, rejected = [[1.0, 3.0], [2.0, 2.0], [5.0, 5.0]], [[0.0, 0.0]] * 3
    pairs = pairs_of(chosen, rejected, [(3, 3)] * 3, penalty=2.0)
    assert pairs.chosen_scores.tolist() == [0.0, 2.0, 5.0]
    figures = report_of(pairs).figures()
    assert figures["disagreement/mean"] == pytest.approx(1 / 3)
    assert figures["head_1/accuracy"] == 1.0
    assert [int(np.flatnonzero(members)[0]) for members in strata_by_disagreement(pairs).values()] == [1, 2, 0]
    assert strata_by_disagreement(ruler()) == {}


@pytest.mark.parametrize(
    ("score_norm", "mean_error", "std_error"),
    [("affine_on_sft_samples", 0.5, 1.0), ("bias_on_references", 0.25, None), ("none", None, None), ("", None, None)],
)
def test_scores_are_held_against_the_normalisation_of_the_config(
    score_norm: str, mean_error: float | None, std_error: float | None
) -> None:
    texts = {
        SAMPLES: ScoredTexts([-1.0, 3.0], [3, 4], [True, True]),
        REFERENCES: ScoredTexts([3.0, -5.0], [3, 4], [True, True], [1.0, 0.0]),
    }
    figures = report_of(ruler(), score_norm, **texts).figures()
    assert figures.get("normalisation/mean_error") == mean_error
    assert figures.get("normalisation/std_error") == std_error
    assert figures["gold_correlation/references"] == pytest.approx(1.0)


def test_a_constant_reward_model_fails_without_an_error() -> None:
    pairs = pairs_of([[0.0]] * 8, [[0.0]] * 8, [(3, 4), (4, 3)] * 4)
    report = report_of(pairs)
    figures = report.figures()
    assert figures["reward_model/accuracy"] == 0.5
    assert figures["saturation/extreme_share"] == 1.0
    judged = verdict(figures)
    assert judged.word == "not ready"
    assert {light.name for light in judged.lights if light.state == "fail"} >= {"label_accuracy", "saturation"}
    assert page("Report", judged.reasons, [judged.table(), *report.tables()]).startswith("# Report\n\nlabel_accuracy")


def test_scored_pairs_survive_json() -> None:
    pairs = ruler()
    again = ScoredPairs.from_plain(pairs.plain())
    assert again.margins.tolist() == pairs.margins.tolist()
    assert again.pairs == pairs.pairs


def test_the_verdict_is_its_worst_light() -> None:
    good = {"reward_model/gold_accuracy": 0.76, "reward_model/accuracy": 0.70}
    assert verdict(good).word == "ready"
    assert verdict(good | {"length/preference_gap": 0.12}).word == "with care"
    bad = verdict(good | {"length/preference_gap": 0.12, "reward_model/gold_accuracy": 0.67})
    assert bad.word == "not ready"
    assert [reason.split(" = ")[0] for reason in bad.reasons] == ["gold_accuracy", "length_preference"]
    assert [row[1] for row in bad.table()["rows"]] == ["gold_accuracy", "length_preference", "label_accuracy"]
    assert verdict(good | {"calibration/temperature": float("nan")}).word == "not ready"


def test_every_rule_judges_a_figure_that_some_report_has() -> None:
    rng = np.random.default_rng(2)
    chosen, rejected = rng.normal(size=(2, 80, 2))
    lengths = [(30, 29), (20, 40)] * 40
    texts = {SAMPLES: ScoredTexts([0.0, 1.0], [3, 4], [True, True])}
    full = pairs_of(chosen.tolist(), rejected.tolist(), lengths, gold=[1.0, -1.0] * 40)
    figures = report_of(full, "affine_on_sft_samples", **texts).figures()
    assert {rule.figure for rule in READINESS_RULES} <= figures.keys()


def test_who_wrote_a_pair_comes_from_the_row() -> None:
    def group(**record: object) -> ComparisonGroup:
        return ComparisonGroup(Prompt("a", "", [5], record=dict(record)), ["x", "y"], [[1], [2]], [(1, 0)])

    assert source_of(group(sources=["sft", "human"]), 1, 0) == "human against sft"
    assert source_of(group(sources=["sft", "sft"]), 1, 0) == "sft"
    assert source_of(group(policy="sup4"), 1, 0) == "sup4"
    assert source_of(group(), 1, 0) == ""


def test_scores_of_groups_become_pairs_in_order() -> None:
    prompt = Prompt("a", "", [5], record={"post_id": "p"})
    groups = [ComparisonGroup(prompt, ["x", "yy", "z"], [[1], [2], [3]], [(2, 0), (1, 2)])]
    pairs = ScoredPairs.of(groups, [torch.tensor([[0.5], [2.0], [1.0]])], gain=1.0, ensemble_penalty=0.0)
    assert pairs.margins.tolist() == [0.5, 1.0]
    assert pairs.posts == ["p", "p"]
    assert pairs.gold_margins == []


def test_texts_cannot_break_a_markdown_table() -> None:
    table = markdown_table(["a", "b"], [["x|y\nz", 0.5], [None, 3]])
    assert table.splitlines()[2:] == ["| x\\|y z | 0.500 |", "|  | 3 |"]


def test_the_documents_have_every_light_with_its_thresholds() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reward_models.md").read_text()
    missing = [
        rule.name for rule in READINESS_RULES if f"| `{rule.name}` | {rule.meaning} | {rule.thresholds} |" not in page
    ]
    assert missing == []


def test_openais_layout_names_who_wrote_each_summary() -> None:
    summaries = [{"text": "a", "policy": "sup4"}, {"text": "b", "policy": "ref"}]
    record = {"info": {"post": "p"}, "summaries": summaries, "choice": 1}
    assert unify(record, ColumnConfig())["sources"] == ["ref", "sup4"]
    del summaries[0]["policy"]
    assert "sources" not in unify(record, ColumnConfig())
