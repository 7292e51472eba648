"""Reward models of every head as runs: settings take effect, runs resume, PPO and RLOO learn from ensembles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from recording_run import RecordingRun
from rlhf_engine.config import (
    InitConfig,
    ModelConfig,
    OptimizerConfig,
    PPOConfig,
    RLOOConfig,
    RMConfig,
    TokenizerConfig,
)
from rlhf_engine.data.api import load_demonstrations
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.data.world import demonstrations
from rlhf_engine.models import load_policy, save_model
from rlhf_engine.scalar_models import response_head_scores
from rlhf_plugins.critic_free.trainer import CriticFreeTrainer
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.ppo.trainer import PPOTrainer
from rlhf_plugins.rm.trainer import RewardModelTrainer
from rlhf_sdk.trainer import UserError
from test_trainers_resume import started, steps, weights, world

LR = OptimizerConfig(lr=1e-2)
MLP_ENSEMBLE = {"head": "mlp", "pooling": "mean", "heads": 3}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("policy")
    texts = [f"{row['post']} {row['summary']}" for row in demonstrations(60, seed=0)]
    tokenizer = load_tokenizer(TokenizerConfig(train_vocab_size=500), "", lambda: texts)
    init = InitConfig(hidden_size=16, layers=1, heads=2, max_positions=256, initializer_range=0.2)
    torch.manual_seed(0)
    save_model(load_policy(ModelConfig(init=init), tokenizer, torch.device("cpu")), tokenizer, directory)
    return str(directory)


def rm_config(policy: str, **changes: Any) -> RMConfig:
    config = RMConfig(
        model=ModelConfig(path=policy),
        optimizer=LR,
        data=world(3, 8),
        eval_data=world(4, 2),
        norm_data=world(5, 8),
        norm_rows=8,
        batch_size=2,
        micro_batch_size=1,
    )
    return msgspec.structs.replace(config, **changes)


def trained(config: RMConfig, directory: Path) -> tuple[RewardModelTrainer, list[Any], RecordingRun]:
    trainer, run = started(RewardModelTrainer(), config, directory / "run")
    assert isinstance(trainer, RewardModelTrainer)
    figures = steps(trainer, 2)
    trainer.finish()
    trainer.save(directory)
    return trainer, figures, run


@pytest.fixture(scope="module")
def ensemble(policy: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[RewardModelTrainer, Path]:
    directory = tmp_path_factory.mktemp("ensemble")
    trainer, _, _ = trained(rm_config(policy, heads=3), directory)
    return trainer, directory / "model"


@pytest.mark.parametrize("changes", [{"head": "mlp"}, {"pooling": "mean"}, {"heads": 2}, {"head_init": "zero"}])
def test_every_setting_of_the_head_changes_the_run(changes: dict[str, Any], policy: str, tmp_path: Path) -> None:
    _, plain, _ = trained(rm_config(policy), tmp_path / "plain")
    _, changed, _ = trained(rm_config(policy, **changes), tmp_path / "changed")
    assert changed[-1]["loss/pairwise"] != plain[-1]["loss/pairwise"]
    assert "reward/margin_disagreement" not in plain[-1]
    assert (changed[-1].get("reward/margin_disagreement", 0) > 0) == ("heads" in changes)


def test_an_ensemble_resumes_bit_for_bit(policy: str, tmp_path: Path) -> None:
    config = rm_config(policy, **MLP_ENSEMBLE)
    straight, _ = started(RewardModelTrainer(), config, tmp_path / "run")
    before = steps(straight, 2)
    straight.save(tmp_path / "checkpoint")
    after = steps(straight, 2)
    resumed, _ = started(RewardModelTrainer(), config, tmp_path / "run")
    resumed.load(tmp_path / "checkpoint")
    assert steps(resumed, 2) == after != before
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))


@pytest.mark.parametrize("score_norm", ["bias_on_references", "affine_on_sft_samples"])
def test_heads_are_centred_one_by_one_and_the_ensemble_as_configured(
    score_norm: str, policy: str, tmp_path: Path
) -> None:
    trainer, _, _ = trained(rm_config(policy, score_norm=score_norm, **MLP_ENSEMBLE), tmp_path)
    reward_model = trainer.state.reward_model
    assert reward_model.score_norm == score_norm
    gain, bias = reward_model.affine
    raw = trainer.scores_to_normalise().mean(dim=-1) * gain + bias
    assert abs(float(raw.mean())) < 1e-5
    assert (abs(float(raw.std(correction=0)) - 1) < 1e-4) == (score_norm == "affine_on_sft_samples")


def test_centred_heads_agree_on_average(ensemble: tuple[RewardModelTrainer, Path]) -> None:
    trainer, _ = ensemble
    data = load_demonstrations(trainer.config.norm_data, trainer.tokenizer, hooks=trainer.run)
    references = trainer.references([data[i] for i in range(8)])
    means = response_head_scores(trainer.state.reward_model, references).mean(dim=0)
    assert torch.allclose(means, torch.zeros(3), atol=1e-4)


def test_an_ensemble_without_a_zero_is_refused(policy: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="zero of each of 3 heads"):
        started(RewardModelTrainer(), rm_config(policy, heads=3, score_norm="none"), tmp_path)


def online_config(kind: type[PPOConfig] | type[RLOOConfig], policy: str, reward_model: Path, **changes: Any) -> Any:
    config = kind(
        model=ModelConfig(path=policy),
        reward_model=ModelConfig(path=str(reward_model)),
        optimizer=LR,
        data=world(6, 16),
        total_episodes=16,
        batch_size=8,
        minibatches=2,
        micro_batch_size=4,
        response_tokens=8,
        missing_eos="subtract",
    )
    return msgspec.structs.replace(config, **changes)


@pytest.mark.parametrize(("kind", "new"), [(PPOConfig, PPOTrainer), (RLOOConfig, CriticFreeTrainer)])
def test_online_training_on_an_ensemble(
    kind: Any, new: type[EngineTrainer], policy: str, ensemble: tuple[RewardModelTrainer, Path], tmp_path: Path
) -> None:
    def figures(name: str, penalty: float) -> list[Any]:
        config = online_config(kind, policy, ensemble[1], ensemble_penalty=penalty)
        return steps(started(new(), config, tmp_path / name)[0], 2)

    free, penalised = figures("free", 0.0), figures("penalised", 2.0)
    assert len(free) == 2
    first, first_penalised = free[0], penalised[0]
    assert first["reward/disagreement"] == first_penalised["reward/disagreement"] > 0
    taken_off = first["reward/score_mean"] - first_penalised["reward/score_mean"]
    assert taken_off == pytest.approx(2.0 * first["reward/disagreement"], rel=1e-3)
    assert free[1]["kl/sequence_nats"] != penalised[1]["kl/sequence_nats"]


@pytest.mark.parametrize("changes", [MLP_ENSEMBLE, {"pooling": "mean"}], ids=str)
def test_ppo_starts_its_critic_from_any_head_and_resumes_bit_for_bit(
    changes: dict[str, Any], policy: str, tmp_path: Path
) -> None:
    trained(rm_config(policy, **changes), tmp_path)
    config = online_config(PPOConfig, policy, tmp_path / "model", ensemble_penalty=0.5)
    straight, _ = started(PPOTrainer(), config, tmp_path / "run")
    (first,) = steps(straight, 1)
    straight.save(tmp_path / "checkpoint")
    after = steps(straight, 1)
    resumed, _ = started(PPOTrainer(), config, tmp_path / "run")
    resumed.load(tmp_path / "checkpoint")
    assert steps(resumed, 1) == after
    assert ("reward/disagreement" in first) == ("heads" in changes)
