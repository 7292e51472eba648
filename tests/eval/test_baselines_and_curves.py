"""Baselines on pairs with a known preference, and proxy against gold on series with a known peak."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.errors import DataError
from rlhf_engine.eval.baselines import (
    AccuracyReport,
    LabelledPair,
    LinearPreference,
    labelled_pairs,
    longer_wins,
    pair_correctness,
    rankers_correctness,
    similar_length,
)
from rlhf_engine.eval.overoptimisation import curves_figures, curves_table, overoptimisation
from rlhf_plugins.eval.curves import read_curve
from rlhf_sdk.events import MetricsLogged, Started, encode_line


def pairs_that_prefer(preferred: str, count: int, seed: int) -> list[LabelledPair]:
    """longer: the longer one is chosen; a word: the one that has it is chosen, whatever its length."""
    rng = random.Random(seed)
    pairs = []
    for post in range(count):
        short, long = (" ".join(rng.choices("abcdefgh", k=size)) for size in (rng.randint(2, 8), rng.randint(9, 20)))
        a, b = (long, short) if preferred == "longer" or rng.random() < 0.5 else (short, long)
        pairs.append(LabelledPair(str(post), a if preferred == "longer" else f"{a} {preferred}", b))
    return pairs


def report(pairs: list[LabelledPair], train: list[LabelledPair]) -> AccuracyReport:
    coin = np.array([0.0, 1.0] * (len(pairs) // 2))
    return AccuracyReport(pairs, rankers_correctness(coin, pairs, train), resamples=200, seed=0)


def test_a_preference_for_length_is_found_by_length_alone() -> None:
    figures = report(pairs_that_prefer("longer", 100, 1), pairs_that_prefer("longer", 200, 2)).figures()
    assert figures["baseline/longer"] == 1.0
    assert figures["baseline/shorter"] == 0.0
    assert figures["baseline/tfidf"] >= 0.95
    assert figures["reward_model/accuracy"] == 0.5
    assert figures["reward_model/lead_over_longer"] == -0.5
    assert figures["reward_model/accuracy_low"] < 0.5 < figures["reward_model/accuracy_high"]


def test_a_preference_for_a_word_is_found_by_the_linear_model_only() -> None:
    pairs = pairs_that_prefer("thanks", 100, 3)
    assert LinearPreference(pairs_that_prefer("thanks", 200, 4)).correctness(pairs).mean() >= 0.95
    assert 0.3 < longer_wins(pairs).mean() < 0.7


def test_without_training_pairs_there_is_no_linear_row() -> None:
    table = report(pairs_that_prefer("longer", 10, 5), []).table()
    assert [row[0] for row in table["rows"]] == ["reward model", "longer wins", "shorter wins"]


def test_similar_length_is_less_than_a_tenth_of_the_longer() -> None:
    lengths = [(100, 91), (100, 90), (10, 10), (91, 100)]
    assert similar_length([LabelledPair("p", "x" * a, "x" * b) for a, b in lengths]) == [True, False, True, True]


def test_accuracy_at_similar_length_uses_those_pairs_only() -> None:
    pairs = [LabelledPair("p", "aaaa", "bbbb"), LabelledPair("q", "aaaa", "b"), LabelledPair("r", "aaaa", "bbbb")]
    correctness = {"reward model": np.array([1.0, 0.0, 1.0])}
    interval = AccuracyReport(pairs, correctness, resamples=100, seed=0).accuracy_at_similar_length("reward model")
    assert interval is not None
    assert interval.mean == 1.0


def test_correctness_of_groups_by_hand() -> None:
    group = ComparisonGroup(Prompt("1", "p", [5]), ["a", "b", "c"], [[1], [2], [3]], [(0, 1), (2, 0), (1, 2)])
    assert pair_correctness([group], [[1.0, 0.0, 1.0]]).tolist() == [1.0, 0.5, 0.0]
    assert [(pair.chosen, pair.rejected) for pair in labelled_pairs([group])] == [("a", "b"), ("c", "a"), ("b", "c")]


def test_gold_peaks_while_the_proxy_rises() -> None:
    updates = list(range(1, 21))
    gold = [-((update - 8.5) ** 2) for update in updates]
    curve = overoptimisation(updates, [0.1 * update for update in updates], gold, [0.5 * u for u in updates])
    figures = curves_figures({"free": curve})
    # The window of updates 7 to 10 is centred on 8.5: mean of -(1.5^2, 0.5^2, 0.5^2, 1.5^2) = -1.25.
    assert figures["curve/free/peak_update"] == 10
    assert figures["curve/free/gold_peak"] == pytest.approx(-1.25)
    assert figures["curve/free/gold_final"] == pytest.approx(-(8.5**2 + 9.5**2 + 10.5**2 + 11.5**2) / 4)
    assert figures["curve/free/proxy_start"] == pytest.approx(0.25)
    assert figures["curve/free/proxy_final"] == pytest.approx(1.85)
    points = [(row[1], row[2]) for row in curves_table({"free": curve})["rows"]]
    assert points == [("start", 4), ("gold's peak", 10), ("end", 20)]


def test_without_gold_there_is_no_peak() -> None:
    curve = overoptimisation([1, 2], [0.0, 1.0], [], [0.0, 0.0])
    assert curve.proxy == [0.5]
    assert [row[0] for row in curve.rows()] == ["start", "end"]
    assert "gold_peak" not in curve.figures()


def write_run(directory: Path, steps: list[tuple[int, float]]) -> str:
    """A run's events: (step, proxy); returns the path of its model."""
    directory.mkdir()
    values = [{"reward/score_mean": x, "gold/score_mean": -x, "kl/sequence_nats": 0.0} for _, x in steps]
    events = [MetricsLogged(values=v, seconds=1.0, step=step) for v, (step, _) in zip(values, steps, strict=True)]
    lines = [encode_line(event) for event in [Started(plugin="ppo", total_steps=4), *events]]
    (directory / "events.jsonl").write_bytes(b"".join(lines))
    return str(directory / "checkpoints" / "step-00000004" / "model")


def test_a_resumed_runs_later_measurement_stands(tmp_path: Path) -> None:
    model = write_run(tmp_path / "run", [(1, 1.0), (2, 2.0), (3, 9.0), (3, 3.0), (4, 4.0)])
    curve = read_curve("ppo", model)
    assert (curve.updates, curve.proxy, curve.gold) == ([4], [2.5], [-2.5])


def test_a_model_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"curves\.free: .*elsewhere"):
        read_curve("free", str(tmp_path / "elsewhere" / "checkpoints" / "step" / "model"))
