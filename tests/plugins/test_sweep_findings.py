"""A sweep's figures: Student's t against printed tables, Pareto fronts by hand, and which figures are compared."""

from __future__ import annotations

import math

import pytest

from rlhf_plugins.sweep.pareto import dominated_by
from rlhf_plugins.sweep.tables import axes_of, findings
from rlhf_sdk.statistics import estimate, t_below, t_quantile

PRINTED = [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (30, 2.042), (120, 1.980)]
"""Degrees of freedom and the two-sided 95 % point, from any statistics book."""


@pytest.mark.parametrize(("freedom", "expected"), PRINTED)
def test_t_quantiles_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(expected, abs=6e-4)


def test_few_degrees_have_closed_forms() -> None:
    assert t_below(1.7, 1) == pytest.approx(0.5 + math.atan(1.7) / math.pi)
    assert t_below(1.7, 2) == pytest.approx(0.5 + 1.7 / (2 * math.sqrt(2 + 1.7**2)))


def test_the_interval_of_three_values_by_hand() -> None:
    """Mean 2, standard deviation 1, t of two degrees."""
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0 and found.half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert estimate([5.0]).half is None


def test_the_front_by_hand() -> None:
    points = {"near": (1.0, 1.0), "far": (3.0, 4.0), "worse": (0.9, 1.5), "dear": (3.0, 5.0), "twin": (1.0, 1.0)}
    assert dominated_by(points) == {"dear": "far", "worse": "near"}


def test_a_row_for_each_point_and_what_is_on_the_front() -> None:
    rows = {"kl_coef=0": ["a", "b"], "kl_coef=1": ["c", "d"], "kl_coef=2": ["e"]}
    finished = {
        "a": {"gold/mean": 4.0, "kl/nats": 9.0},
        "b": {"gold/mean": 2.0, "kl/nats": 7.0},
        "c": {"gold/mean": 5.0, "kl/nats": 1.0},
    }
    found = findings(rows, finished)
    table, front = found["tables"]
    assert [row[:2] for row in table["rows"]] == [["kl_coef=0", "2/2"], ["kl_coef=1", "1/2"], ["kl_coef=2", "0/1"]]
    assert table["rows"][0][2] == "3 ± 13" and table["rows"][1][2] == "5" and table["rows"][2][2] == "-"
    assert found["front"] == ["kl_coef=1"] and (found["gain"], found["cost"]) == ("gold/mean", "kl/nats")
    assert [row[-1] for row in front["rows"]] == ["on the front", "beaten by kl_coef=1"]


NAMES = [
    (["reward/score_mean", "kl/sequence_nats", "gold/score_mean"], ("gold/score_mean", "kl/sequence_nats")),
    (["reward/score_mean", "kl/sequence_nats"], ("reward/score_mean", "kl/sequence_nats")),
    (["echo/score", "echo/sum"], None),
    (
        ["ppo: gold/score_mean", "ppo: kl/sequence_nats", "eval: eval/gold_mean", "eval: eval/kl_sequence_nats"],
        ("eval: eval/gold_mean", "eval: eval/kl_sequence_nats"),
    ),
    (["gold: loss/pairwise", "gold: kl/sequence_nats"], None),
]


@pytest.mark.parametrize(("names", "expected"), NAMES)
def test_gold_goes_before_scores_and_the_last_stage_before_others(names: list[str], expected: object) -> None:
    assert axes_of(names) == expected
