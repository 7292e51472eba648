"""`eval.what = "reward_model"` with tiny models: the report of a whole run, exact resume, refusals."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from rlhf_engine.config import EvalConfig, ModelConfig
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.models import save_model
from rlhf_engine.scalar_heads import HeadShape
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_plugins.eval.attributions import picked
from rlhf_plugins.eval.choice import TRAINERS
from rlhf_plugins.eval.readiness import FIGURES, PAGE, ReadinessTrainer
from rlhf_sdk.config_errors import convert_config
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError
from tiny_runs import INIT, Config, build_models, finished_run, with_values, world


class ReportRun:
    """Remembers results and checks."""

    def __init__(self, config: EvalConfig, directory: Path) -> None:
        self.config, self.directory, self.seed, self.step = config, directory, config.seed, 0
        self.results: dict[str, dict[str, Any]] = {}
        self.checks: dict[str, str] = {}
        directory.mkdir(exist_ok=True)

    def safe_point(self) -> None:
        return None

    def token_point(self) -> None:
        return None

    def phase(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        return None

    def note(self, text: str) -> None:
        return None

    def check(self, name: str, status: str, figure: float, tolerance: float, explanation: str = "") -> None:
        self.checks[name] = status

    def result(self, name: str, data: dict[str, Any]) -> None:
        self.results[name] = data


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("models")
    paths = build_models(folder)
    tokenizer = load_tokenizer(EvalConfig().tokenizer, paths["policy"], tuple)
    torch.manual_seed(5)
    cpu = torch.device("cpu")
    ensemble = load_scalar_model(ModelConfig(init=INIT), tokenizer, cpu, head_shape=HeadShape("mlp", "mean", 3))
    ensemble.set_affine(2.0, 0.5, head_offsets=[0.1, 0.0, -0.1], score_norm="affine_on_sft_samples")
    save_model(ensemble, tokenizer, folder / "ensemble")
    return {
        "what": "reward_model",
        "policies": {"sft": paths["policy"]},
        "reward_model": str(folder / "ensemble"),
        "data": world(7, 6),
        "comparisons": world(8, 6),
        "train_comparisons": world(9, 4),
        "response_tokens": 6,
        "bootstrap": 100,
        "example_count": 1,
        "batch_size": 4,
        "device": "cpu",
        "threads": 1,
    }


def new(config: Config, directory: Path) -> tuple[ReadinessTrainer, ReportRun]:
    trainer, run = ReadinessTrainer(), ReportRun(convert_config(config, EvalConfig), directory)
    trainer.runtime.start(run.seed)
    trainer.setup(run)  # type: ignore[arg-type]
    return trainer, run


def test_a_whole_run_leaves_a_report(config: Config, tmp_path: Path) -> None:
    found = finished_run(tmp_path / "run", "eval", config)
    assert found["exit code"] == 0
    run = RunDir(tmp_path / "run")
    report = json.loads((run.data / FIGURES).read_text())
    assert report["verdict"] in {"ready", "with care", "not ready"}
    assert {"reward_model/gold_accuracy", "calibration/temperature", "head_3/accuracy"} <= set(report["figures"])
    assert {"gold_correlation/sft_samples", "normalisation/std_error"} <= set(report["figures"])
    kinds = [example["kind"] for example in report["examples"]]
    assert kinds == ["best", "worst", "most wrong 1: preferred", "most wrong 1: rejected"]
    best, worst, preferred, rejected = (example["words"]["score"] for example in report["examples"])
    assert best >= rejected > preferred >= worst
    for example in report["examples"]:
        assert example["token_scores"][-1] == pytest.approx(example["words"]["score"], abs=1e-4)
    page = (run.data / PAGE).read_text()
    assert f"# PPO on this reward model: {report['verdict']}" in page
    assert all(reason in page for reason in report["reasons"])
    assert any('"readiness"' in event for event in found["events"])


def test_a_stopped_report_goes_on_and_ends_the_same(config: Config, tmp_path: Path) -> None:
    straight, straight_run = new(config, tmp_path / "straight")
    while straight.step() is not None:
        folder = tmp_path / f"after-{straight.steps_done}"
        folder.mkdir()
        straight.save(folder)
    straight.finish()
    for done in (1, 2, 3):
        resumed, run = new(config, tmp_path / f"resumed-{done}")
        resumed.load(tmp_path / f"after-{done}")
        while resumed.step() is not None:
            pass
        resumed.finish()
        assert run.results == straight_run.results
        assert run.checks == straight_run.checks
        assert (run.directory / "data" / PAGE).read_text() == (straight_run.directory / "data" / PAGE).read_text()


def test_a_penalty_on_disagreement_lowers_every_score(config: Config, tmp_path: Path) -> None:
    def scores(penalty: float) -> list[float]:
        trainer, _ = new(config | {"ensemble_penalty": penalty}, tmp_path / str(penalty))
        trainer.step()
        trainer.step()
        return [*trainer.pairs.chosen_scores, *trainer.texts["SFT samples"].scores]

    pairs = list(zip(scores(0.0), scores(1.0), strict=True))
    assert all(penalised < free for free, penalised in pairs)


def test_examples_are_the_extremes_and_as_many_as_asked_for(config: Config, tmp_path: Path) -> None:
    trainer, _ = new(config, tmp_path / "run")
    trainer.step()
    pairs = trainer.pairs
    scores = [*pairs.chosen_scores, *pairs.rejected_scores]
    found = picked(pairs, 2)
    assert [kind for kind, *_ in found[:4]] == ["best", "best", "worst", "worst"]
    picks = [float((pairs.chosen_scores if is_chosen else pairs.rejected_scores)[row]) for _, row, is_chosen in found]
    assert (picks[0], picks[2]) == (max(scores), min(scores))
    assert picks[0] >= picks[1] >= picks[3] >= picks[2]
    assert picks[4] - picks[5] == pytest.approx(float(pairs.margins.min()))
    assert picked(pairs, 0) == []


def test_without_prompts_only_comparisons_are_judged(config: Config, tmp_path: Path) -> None:
    trainer, run = new(with_values(config, {"data.source": [], "train_comparisons.source": []}), tmp_path / "run")
    while trainer.step() is not None:
        pass
    trainer.finish()
    figures = run.results["readiness"]["figures"]
    assert "reward_model/gold_accuracy" in figures
    assert not any(name.startswith(("normalisation/", "baseline/tfidf")) for name in figures)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reward_model": ""}, "eval.reward_model: what"),
        ({"comparisons.source": []}, "eval.comparisons: no source"),
        ({"policies": {}}, "eval.policies: the built-in world's comparisons"),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, Any], words: str, config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        trainer, _ = new(with_values(config, changes), tmp_path / "run")
        trainer.step()


def test_every_choice_of_what_has_a_trainer() -> None:
    for what in TRAINERS:
        assert convert_config({"what": what}, EvalConfig).what == what
    assert set(TRAINERS) == {"policies", "reward_model"}


def test_a_policy_with_an_empty_path_is_left_out() -> None:
    config = convert_config({"policies": {"sft": "somewhere", "ppo": ""}}, EvalConfig)
    assert config.with_named_policies().policies == {"sft": "somewhere"}
