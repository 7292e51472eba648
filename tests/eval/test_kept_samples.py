"""Samples of earlier evaluations: taken where nothing that decides them has changed, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlhf_engine.eval.policies import Evaluator
from small_evaluations import FakeRun, config_of, evaluated, world_data

BASE: dict[str, Any] = {"temperatures": [1.0], "data": world_data(7, 4), "best_of": [2, 4]}


@pytest.fixture(scope="module")
def root(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one finished evaluation."""
    folder = tmp_path_factory.mktemp("root")
    evaluated(config(models), folder)
    (folder / "run").rename(folder / "earlier")
    return folder


def config(models: Path, **changes: Any) -> Any:
    policies = {"sft": str(models / "first"), "ppo": str(models / "second")}
    return config_of(models, **({"policies": policies} | BASE | changes))


def drawn_in(root: Path, changed: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], FakeRun]:
    """How many samples each were drawn, in turn, by another evaluation below the same root."""
    drawn, sampled = [], Evaluator.sampled

    def counted(self: Evaluator, policy: Any, temperature: float, *, each: int = 1) -> Any:
        drawn.append(each)
        return sampled(self, policy, temperature, each=each)

    monkeypatch.setattr(Evaluator, "sampled", counted)
    folder = root / f"other{len(list(root.iterdir()))}"
    folder.mkdir()
    (folder / "responses").symlink_to(root / "responses")
    return drawn, evaluated(changed, folder)[1]


@pytest.mark.parametrize(
    "changes",
    [{}, {"best_of": [3]}, {"batch_size": 2, "bootstrap": 101, "reward_model": "", "best_of": []}],
    ids=["nothing", "fewer of them", "what is done with them"],
)
def test_what_is_known_is_not_sampled_again(
    models: Path, root: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, run = drawn_in(root, config(models, **changes), monkeypatch)
    assert drawn == []
    assert sum("of an earlier evaluation" in note for note in run.notes) == 2 + bool(changes.get("best_of", [1]))


@pytest.mark.parametrize(
    ("changes", "drawn"),
    [
        ({"seed": 4}, [1, 4, 1]),
        ({"temperatures": [0.7]}, [1, 4, 1]),
        ({"response_tokens": 11}, [1, 4, 1]),
        ({"data": world_data(8, 4)}, [1, 4, 1]),
        ({"data": world_data(7, 5)}, [1, 4, 1]),
        ({"best_of": [5]}, [5]),
    ],
)
def test_another_setting_means_other_samples(
    models: Path, root: Path, changes: dict[str, Any], drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drawn_in(root, config(models, **changes), monkeypatch)[0] == drawn


def test_one_changed_weight_means_other_samples(
    models: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = AutoModelForCausalLM.from_pretrained(models / "second")
    with torch.no_grad():
        policy.get_input_embeddings().weight[3, 3] += 0.5
    for file in (models / "second").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    policy.save_pretrained(tmp_path)
    policies = {"sft": str(models / "first"), "ppo": str(tmp_path)}
    assert drawn_in(root, config(models, policies=policies), monkeypatch)[0] == [1]


def test_known_samples_give_the_same_figures(models: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of 2 among 4 kept samples are those of 2 that were sampled alone."""
    drawn, fewer = drawn_in(root, config(models, best_of=[2]), monkeypatch)
    assert drawn == []
    (root / "responses").rename(root / "put aside")
    (root / "responses").mkdir()
    drawn, alone = drawn_in(root, config(models, best_of=[2]), monkeypatch)
    assert drawn == [1, 2, 1]
    figures = [without_seconds(run.results["evaluation"]["figures"]) for run in (fewer, alone)]
    assert figures[0] == figures[1]


def without_seconds(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if "cpu_seconds" not in name}
