"""Trainers while people interfere: asked for samples, given other values, left inside a step."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from recording_run import RecordingRun
from rlhf_engine.config import ModelConfig, OptimizerConfig, PPOConfig
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.policy_sampling import PolicySampler
from rlhf_plugins.ppo.trainer import PPOTrainer
from rlhf_plugins.sft.trainer import SFTTrainer
from rlhf_sdk.trainer import UserError
from test_trainers_resume import SFT, TRAINERS, config_of, rm_config, started, steps, weights

SAMPLERS = ["sft", "ppo", "grpo", "dpo"]
POST = "SUBREDDIT: r/tea\n\nTITLE: a cup\n\nPOST: the cup fell.\n\nTL;DR:"


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sft")
    trainer, _ = started(SFTTrainer(), SFT, directory / "run")
    steps(trainer, 2)
    trainer.save(directory)
    return directory / "model"


@pytest.fixture(scope="module")
def rm(sft: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("rm")
    trainer, _ = started(TRAINERS["rm"](), rm_config(sft), directory / "run")
    steps(trainer, 1)
    trainer.save(directory)
    return directory / "model"


def config_that_looks_often(kind: str, sft: Path, rm: Path) -> Any:
    config = config_of(kind, sft, rm)
    return msgspec.structs.replace(config, eval_every=2) if hasattr(config, "eval_every") else config


def at_safe_points(run: RecordingRun, do: Callable[[], None]) -> None:
    run.safe_point = do  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_look_at_what_the_policy_writes_changes_nothing(kind: str, sft: Path, rm: Path, tmp_path: Path) -> None:
    config, new = config_that_looks_often(kind, sft, rm), TRAINERS[kind]
    straight, _ = started(new(), config, tmp_path / "straight")
    expected = steps(straight, 2)
    watched, run = started(new(), config, tmp_path / "watched")
    assert isinstance(watched, PolicySampler)
    answers = []
    at_safe_points(run, lambda: answers.append(watched.sample([POST, "a"])))
    assert steps(watched, 2) == expected
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(watched), strict=True))
    assert len(answers) > 4 and [answer.prompt for answer in answers[0]] == [POST, "a"]
    assert answers[0][0].metrics["response_tokens"] >= 1
    own = watched.sample([])
    assert len(own) == 4 and own[0].prompt.endswith("TL;DR:")


def test_a_prompt_without_words_is_refused(sft: Path, tmp_path: Path) -> None:
    trainer, _ = started(SFTTrainer(), SFT, tmp_path / "run")
    assert isinstance(trainer, SFTTrainer)
    with pytest.raises(UserError, match="no tokens"):
        trainer.sample([""])


@pytest.mark.parametrize("kind", TRAINERS)
def test_wherever_a_trainer_can_be_left_it_goes_on_from_there(kind: str, sft: Path, rm: Path, tmp_path: Path) -> None:
    config, new = config_that_looks_often(kind, sft, rm), TRAINERS[kind]
    straight, _ = started(new(), config, tmp_path / "run")
    expected = steps(straight, 3)
    left, run = started(new(), config, tmp_path / "run")
    points: list[bool] = []

    def save_here() -> None:
        points.append(left.can_leave())
        if points[-1] and left.steps_done == 1 and not (tmp_path / "checkpoint").exists():
            (tmp_path / "checkpoint").mkdir()
            left.save(tmp_path / "checkpoint")

    at_safe_points(run, save_here)
    steps(left, 2)
    assert points[0]
    if kind in ("sft", "dpo"):
        assert not points[-1], "the held-out evaluation comes after the optimizer's step"
    resumed, _ = started(new(), config, tmp_path / "run")
    resumed.load(tmp_path / "checkpoint")
    assert resumed.steps_done == 1 and steps(resumed, 2) == expected[1:]
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))


def with_values(trainer: EngineTrainer, **values: Any) -> Mapping[str, float]:
    trainer.reconfigure(msgspec.structs.replace(trainer.config, **values))
    (metrics,) = steps(trainer, 1)
    return metrics


def test_a_learning_rate_that_is_set_holds_from_the_next_step(tmp_path: Path) -> None:
    trainer, _ = started(SFTTrainer(), SFT, tmp_path / "run")
    steps(trainer, 1)
    share = trainer.optimizers["model"].lr / SFT.optimizer.lr
    assert with_values(trainer, optimizer=OptimizerConfig(lr=5e-4))["optimizer/lr"] == pytest.approx(5e-4 * share)


def test_ppo_takes_over_coefficients_and_both_learning_rates(sft: Path, rm: Path, tmp_path: Path) -> None:
    trainer, _ = started(PPOTrainer(), config_of("ppo", sft, rm), tmp_path / "run")
    steps(trainer, 1)
    moved = trainer.state.kl.coef
    assert moved != trainer.config.kl_coef
    assert with_values(trainer, clip_range=0.1)["kl/coef"] == moved, "an adaptive coefficient goes on from where it is"
    assert with_values(trainer, kl_coef=0.4)["kl/coef"] == 0.4
    trainer.reconfigure(msgspec.structs.replace(trainer.config, value_optimizer=OptimizerConfig(lr=7e-5)))
    assert trainer.optimizers["value_model"].config.lr == 7e-5 != trainer.optimizers["model"].config.lr


def test_an_adaptive_coefficient_can_not_be_set_to_0(sft: Path, rm: Path, tmp_path: Path) -> None:
    trainer, _ = started(PPOTrainer(), config_of("ppo", sft, rm), tmp_path / "run")
    with pytest.raises(UserError, match="kl_coef"):
        trainer.reconfigure(msgspec.structs.replace(trainer.config, kl_coef=0.0))
    assert trainer.config.kl_coef > 0 and trainer.state.kl.coef > 0


def test_what_backed_off_stays_so_after_a_restart(sft: Path, rm: Path, tmp_path: Path) -> None:
    config = msgspec.structs.replace(config_of("ppo", sft, rm), reward_model=ModelConfig(path=str(rm)))
    assert isinstance(config, PPOConfig)
    trainer, run = started(PPOTrainer(), config, tmp_path / "run")
    found: list[dict[str, Any]] = []
    run.out_of_memory = lambda error, **said: found.append(said)  # type: ignore[method-assign]

    def fail_once() -> None:
        if not found:
            raise torch.OutOfMemoryError("no room")

    at_safe_points(run, fail_once)
    steps(trainer, 1)
    assert found == [{"what": "rollout", "rows": 16, "smaller": 8}]
    trainer.save(tmp_path / "checkpoint")
    resumed, _ = started(PPOTrainer(), config, tmp_path / "run")
    resumed.load(tmp_path / "checkpoint")
    assert resumed.backoff.sizes == {"rollout": 8}
