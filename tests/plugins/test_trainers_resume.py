"""Going on from a checkpoint equals the straight run, bit for bit; and what a run says of itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from recorded_episodes import check_recorded, kept_experiences
from recording_run import RecordingRun
from rlhf_engine.config import (
    DataConfig,
    DPOConfig,
    GRPOConfig,
    InitConfig,
    IPOConfig,
    KTOConfig,
    ModelConfig,
    OnlineConfig,
    OptimizerConfig,
    PPOConfig,
    PrecisionConfig,
    PreferenceConfig,
    RLOOConfig,
    RMConfig,
    SFTConfig,
    TokenizerConfig,
    WorldComparisonConfig,
)
from rlhf_plugins.critic_free.trainer import CriticFreeTrainer
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.online_trainer import OnlineTrainer
from rlhf_plugins.ppo.trainer import PPOTrainer
from rlhf_plugins.preferences.trainer import PreferenceTrainer
from rlhf_plugins.rm.trainer import RewardModelTrainer
from rlhf_plugins.sft.trainer import SFTTrainer
from rlhf_sdk.trainer import UserError

TIMES = "throughput/"
LR = OptimizerConfig(lr=1e-3)


def world(seed: int, rows: int) -> DataConfig:
    return DataConfig(source=["world"], world_seed=seed, max_rows=rows, max_prompt_tokens=160, max_response_tokens=32)


SFT = SFTConfig(
    model=ModelConfig(init=InitConfig(hidden_size=32, layers=1, heads=2, max_positions=256, initializer_range=0.08)),
    tokenizer=TokenizerConfig(train_vocab_size=600, word_level_split=True),
    optimizer=LR,
    data=world(1, 64),
    eval_data=world(2, 8),
    batch_size=8,
    micro_batch_size=4,
)


def started(trainer: EngineTrainer, config: Any, directory: Path) -> tuple[EngineTrainer, RecordingRun]:
    run = RecordingRun(config, directory)
    trainer.runtime.start(config.seed)
    trainer.setup(run)
    return trainer, run


def steps(trainer: EngineTrainer, count: int) -> list[Mapping[str, float]]:
    taken = [trainer.step() for _ in range(count)]
    return [{k: v for k, v in metrics.items() if not k.startswith(TIMES)} for metrics in taken if metrics is not None]


def weights(trainer: EngineTrainer) -> list[torch.Tensor]:
    return [p.detach().clone() for model in trainer.models.values() for p in model.parameters()]


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sft")
    trainer, run = started(SFTTrainer(), SFT, directory / "run")
    steps(trainer, 4)
    trainer.finish()  # type: ignore[attr-defined]
    trainer.save(directory)
    assert run.results["held_out"]["loss/valid_nats_per_token"] > 0
    assert run.samples[0]["reference"]
    return directory / "model"


def rm_config(sft: Path) -> RMConfig:
    return RMConfig(
        model=ModelConfig(path=str(sft)),
        optimizer=LR,
        data=world(3, 24),
        eval_data=world(4, 6),
        norm_data=world(5, 16),
        norm_rows=16,
        batch_size=4,
        micro_batch_size=2,
        head_init="zero",
        score_norm="affine_on_sft_samples",
        world=WorldComparisonConfig(careful=2, edited=1, sloppy=1),
    )


@pytest.fixture(scope="module")
def rm(sft: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("rm")
    trainer, run = started(RewardModelTrainer(), rm_config(sft), directory / "run")
    assert isinstance(trainer, RewardModelTrainer)
    steps(trainer, 3)
    trainer.finish()
    trainer.save(directory)
    assert 0.0 <= run.results["reward_model"]["accuracy/gold"] <= 1.0
    normalised = trainer.state.reward_model.affine
    scores = trainer.scores_to_normalise() * normalised[0] + normalised[1]
    assert abs(float(scores.mean())) < 1e-4
    assert abs(float(scores.std(correction=0)) - 1) < 1e-3
    return directory / "model"


def online_config(kind: type[OnlineConfig], sft: Path, rm: Path) -> Any:
    """Of PPO, RLOO or GRPO; the KL coefficient moves with every update."""
    return kind(
        model=ModelConfig(path=str(sft)),
        reward_model=ModelConfig(path=str(rm)),
        optimizer=LR,
        data=world(6, 32),
        total_episodes=64,
        batch_size=16,
        minibatches=2,
        ppo_epochs=2,
        micro_batch_size=4,
        response_tokens=12,
        temperature=1.0,
        kl_control="adaptive",
    )


def preference_config(kind: type[PreferenceConfig], sft: Path) -> Any:
    """Of DPO, IPO or KTO."""
    return kind(
        model=ModelConfig(path=str(sft)),
        optimizer=LR,
        data=world(7, 16),
        eval_data=world(8, 4),
        batch_size=4,
        micro_batch_size=2,
        kl_samples=4,
        sample_count=1,
        eval_every=3,
    )


TRAINERS: dict[str, type[EngineTrainer]] = {
    "sft": SFTTrainer,
    "rm": RewardModelTrainer,
    "ppo": PPOTrainer,
    "rloo": CriticFreeTrainer,
    "grpo": CriticFreeTrainer,
    "dpo": PreferenceTrainer,
    "ipo": PreferenceTrainer,
    "kto": PreferenceTrainer,
}


def config_of(kind: str, sft: Path, rm: Path) -> Any:
    online: dict[str, type[OnlineConfig]] = {"ppo": PPOConfig, "rloo": RLOOConfig, "grpo": GRPOConfig}
    preferences: dict[str, type[PreferenceConfig]] = {"dpo": DPOConfig, "ipo": IPOConfig, "kto": KTOConfig}
    if kind in online:
        return online_config(online[kind], sft, rm)
    return (
        preference_config(preferences[kind], sft) if kind in preferences else {"sft": SFT, "rm": rm_config(sft)}[kind]
    )


@pytest.mark.parametrize("kind", TRAINERS)
def test_resumed_equals_straight_bit_for_bit(kind: str, sft: Path, rm: Path, tmp_path: Path) -> None:
    config, new = config_of(kind, sft, rm), TRAINERS[kind]
    straight, _ = started(new(), config, tmp_path / "run")
    before = steps(straight, 2)
    straight.save(tmp_path / "checkpoint")
    after = steps(straight, 2)
    resumed, _ = started(new(), config, tmp_path / "run")
    torch.rand(7)
    resumed.load(tmp_path / "checkpoint")
    assert steps(resumed, 2) == after != before
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))


@pytest.mark.parametrize("kind", [PPOConfig, RLOOConfig, GRPOConfig])
def test_the_first_online_update_checks_itself_and_shows_samples(
    kind: type[OnlineConfig], sft: Path, rm: Path, tmp_path: Path
) -> None:
    new = PPOTrainer if kind is PPOConfig else CriticFreeTrainer
    trainer, run = started(new(), online_config(kind, sft, rm), tmp_path / "run")
    assert isinstance(trainer, OnlineTrainer)
    experiences = kept_experiences(trainer)
    (metrics,) = steps(trainer, 1)
    assert {run.checks["kl_before_first_update"], run.checks["ratio_on_first_minibatch"]} == {"ok"}
    assert {"reward/score_mean", "kl/sequence_nats", "gold/score_mean", "episode"} <= set(metrics)
    assert ("value/explained_variance" in metrics) == (kind is PPOConfig)
    assert {"score", "kl/sequence_nats", "gold"} <= set(run.samples[0]["metrics"])
    check_recorded(run.samples, trainer, experiences[0])


def test_a_run_beyond_its_kl_limit_ends_and_stays_ended(sft: Path, rm: Path, tmp_path: Path) -> None:
    changes = {"run_kl_limit_nats_per_sequence": 1e-6, "optimizer": OptimizerConfig(lr=3e-2)}
    config = msgspec.structs.replace(online_config(RLOOConfig, sft, rm), **changes)
    trainer, run = started(CriticFreeTrainer(), config, tmp_path / "run")
    first, second = trainer.step(), trainer.step()
    assert first is not None and first["kl/sequence_nats"] == 0.0
    assert second is not None and second["kl/sequence_nats"] > 1e-6
    assert "checkpoints/step-00000002" in run.notes[-1]
    trainer.save(tmp_path / "checkpoint")
    resumed, _ = started(CriticFreeTrainer(), config, tmp_path / "run")
    resumed.load(tmp_path / "checkpoint")
    assert trainer.step() is None and resumed.step() is None


@pytest.mark.parametrize("kind", [DPOConfig, IPOConfig, KTOConfig])
def test_preference_training_starts_at_the_reference_and_reports_held_out_figures(
    kind: type[PreferenceConfig], sft: Path, tmp_path: Path
) -> None:
    trainer, run = started(PreferenceTrainer(), preference_config(kind, sft), tmp_path / "run")
    assert isinstance(trainer, PreferenceTrainer)
    (first,) = steps(trainer, 1)
    assert (first["implicit_reward/margin_max"], first["accuracy/train"]) == (0.0, 0.5)
    assert run.checks["margins_before_first_update"] == "ok"
    trainer.finish()
    held_out = run.results["preferences"]
    assert {"accuracy/valid", "accuracy/gold", "kl/sequence_nats", "gold/score_mean"} <= set(held_out)
    assert {"kl/sequence_nats", "gold"} <= set(run.samples[0]["metrics"])


def test_preferences_can_be_those_of_the_reward_model(sft: Path, tmp_path: Path) -> None:
    rm_run, _ = started(RewardModelTrainer(), rm_config(sft), tmp_path / "rm")
    model = tmp_path / "rm" / "checkpoints" / "step-00000001" / "model"
    config = msgspec.structs.replace(preference_config(DPOConfig, sft), data=world(3, 20), labels_of=str(model))
    trainer, _ = started(PreferenceTrainer(), config, tmp_path / "dpo")
    assert isinstance(trainer, PreferenceTrainer) and isinstance(rm_run, RewardModelTrainer)
    assert [group.pairs for group in trainer.groups] == [group.pairs for group in rm_run.groups][:20]
    assert [group.responses for group in trainer.groups] == [group.responses for group in rm_run.groups][:20]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"minibatches": 3}, "minibatches: 3"),
        ({"reward_model": ModelConfig()}, "reward_model.path"),
        ({"device": "cuda:9"} if not torch.cuda.is_available() else {"device": "tpu?"}, "device"),
        ({"data": DataConfig(source=["world"])}, "max_rows"),
        ({"precision": PrecisionConfig(compute="float16")}, "allow_float16"),
    ],
)
def test_a_config_that_cannot_work_is_the_users_mistake(
    change: dict[str, Any], words: str, sft: Path, rm: Path, tmp_path: Path
) -> None:
    config = msgspec.structs.replace(online_config(PPOConfig, sft, rm), **change)
    with pytest.raises(UserError, match=words):
        started(PPOTrainer(), config, tmp_path / "run")
