"""Going on from a checkpoint equals the straight run, bit for bit; and what a run says of itself."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from rlhf_engine.config import (
    DataConfig,
    InitConfig,
    ModelConfig,
    OptimizerConfig,
    PPOConfig,
    RMConfig,
    SFTConfig,
    TokenizerConfig,
    WorldComparisonConfig,
)
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.ppo.trainer import PPOTrainer
from rlhf_plugins.rm.trainer import RewardModelTrainer
from rlhf_plugins.sft.trainer import SFTTrainer
from rlhf_sdk.trainer import UserError

TIMES = "throughput/"
LR = OptimizerConfig(lr=1e-3)


class RecordingRun:
    """A run that keeps what it is told."""

    def __init__(self, config: Any, directory: Path) -> None:
        self.config, self.directory, self.seed, self.step = config, directory, config.seed, 0
        self.checks: dict[str, str] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.samples: list[dict[str, Any]] = []
        directory.mkdir(parents=True, exist_ok=True)

    def safe_point(self) -> None:
        return None

    def phase(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        return None

    def note(self, text: str) -> None:
        return None

    def alert(self, severity: str, code: str, message: str, advice: str = "") -> None:
        return None

    def child(self, stage: str, run_id: str, state: str) -> None:
        return None

    def sample(self, **fields: Any) -> None:
        self.samples.append(fields)

    def check(self, name: str, status: str, figure: float, tolerance: float, explanation: str = "") -> None:
        self.checks[name] = status

    def result(self, name: str, data: dict[str, Any]) -> None:
        self.results[name] = data


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


def ppo_config(sft: Path, rm: Path) -> PPOConfig:
    return PPOConfig(
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
    )


@pytest.mark.parametrize("kind", ["sft", "rm", "ppo"])
def test_resumed_equals_straight_bit_for_bit(kind: str, sft: Path, rm: Path, tmp_path: Path) -> None:
    config: Any = {"sft": SFT, "rm": rm_config(sft), "ppo": ppo_config(sft, rm)}[kind]
    trainers: dict[str, type[EngineTrainer]] = {"sft": SFTTrainer, "rm": RewardModelTrainer, "ppo": PPOTrainer}
    new = trainers[kind]
    straight, _ = started(new(), config, tmp_path / "run")
    before = steps(straight, 2)
    straight.save(tmp_path / "checkpoint")
    after = steps(straight, 2)
    resumed, _ = started(new(), config, tmp_path / "run")
    torch.rand(7)
    resumed.load(tmp_path / "checkpoint")
    assert steps(resumed, 2) == after != before
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))


def test_the_first_ppo_update_checks_itself_and_shows_samples(sft: Path, rm: Path, tmp_path: Path) -> None:
    trainer, run = started(PPOTrainer(), ppo_config(sft, rm), tmp_path / "run")
    (metrics,) = steps(trainer, 1)
    assert {run.checks["kl_before_first_update"], run.checks["ratio_on_first_minibatch"]} == {"ok"}
    assert {"reward/score_mean", "kl/sequence_nats", "gold/score_mean", "episode"} <= set(metrics)
    assert {"score", "kl/sequence_nats", "gold"} <= set(run.samples[0]["metrics"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"minibatches": 3}, "minibatches: 3"),
        ({"reward_model": ModelConfig()}, "reward_model.path"),
        ({"device": "cuda:9"} if not torch.cuda.is_available() else {"device": "tpu?"}, "device"),
        ({"data": DataConfig(source=["world"])}, "max_rows"),
    ],
)
def test_a_config_that_cannot_work_is_the_users_mistake(
    change: dict[str, Any], words: str, sft: Path, rm: Path, tmp_path: Path
) -> None:
    config = msgspec.structs.replace(ppo_config(sft, rm), **change)
    with pytest.raises(UserError, match=words):
        started(PPOTrainer(), config, tmp_path / "run")
