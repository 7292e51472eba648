"""Distillation as a run: exact resume, what it reports, and what it refuses."""

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import torch

from rlhf_engine.config import DistilConfig, InitConfig, ModelConfig
from rlhf_plugins.distil.trainer import DistilTrainer
from rlhf_plugins.plans import plan_distil
from rlhf_plugins.sft.trainer import SFTTrainer
from rlhf_sdk.trainer import UserError
from test_trainers_resume import LR, SFT, started, steps, weights, world

STUDENT = InitConfig(hidden_size=16, layers=1, heads=2, max_positions=256, initializer_range=0.08)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("teacher")
    trainer, _ = started(SFTTrainer(), SFT, directory / "run")
    steps(trainer, 2)
    trainer.save(directory)
    return directory / "model"


def config_of(path: Path, **changes: Any) -> DistilConfig:
    config = DistilConfig(
        teacher=ModelConfig(path=str(path)),
        model=ModelConfig(init=STUDENT),
        optimizer=LR,
        data=world(11, 24),
        eval_data=world(12, 4),
        batch_size=4,
        micro_batch_size=2,
        response_tokens=8,
        sample_count=1,
    )
    return msgspec.structs.replace(config, **changes)


@pytest.mark.parametrize("objective", ["logits", "samples"])
def test_resumed_equals_straight_bit_for_bit(
    objective: Literal["logits", "samples"], teacher: Path, tmp_path: Path
) -> None:
    config = config_of(teacher, objective=objective)
    straight, _ = started(DistilTrainer(), config, tmp_path / "run")
    before = steps(straight, 2)
    straight.save(tmp_path / "checkpoint")
    after = steps(straight, 2)
    resumed, _ = started(DistilTrainer(), config, tmp_path / "run")
    torch.rand(7)
    resumed.load(tmp_path / "checkpoint")
    assert steps(resumed, 2) == after != before
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))


def test_the_result_sets_student_beside_teacher(teacher: Path, tmp_path: Path) -> None:
    trainer, run = started(DistilTrainer(), config_of(teacher, eval_every=1), tmp_path / "run")
    assert isinstance(trainer, DistilTrainer)
    (metrics,) = steps(trainer, 1)
    assert metrics["kl/sequence_nats"] > 0
    trainer.finish()
    result = run.results["student"]
    assert {"kl/sequence_nats", "gold/score_mean", "teacher/gold_mean", "response/eos_share"} <= set(result)
    assert result["parameters"] < result["teacher/parameters"]
    assert {"kl/sequence_nats", "gold"} <= set(run.samples[0]["metrics"])


def test_a_student_that_is_its_teacher_is_0_nats_away(teacher: Path, tmp_path: Path) -> None:
    config = config_of(teacher, model=ModelConfig(path=str(teacher)))
    trainer, _ = started(DistilTrainer(), config, tmp_path / "run")
    assert isinstance(trainer, DistilTrainer)
    figures = trainer.held_out_figures()
    assert figures["kl/sequence_nats"] < 1e-5
    assert figures["gold/score_mean"] == sum(trainer.golds(trainer.samples_of(trainer.state.teacher))) / 4


def test_what_can_not_be_a_student_is_refused(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"teacher\.path: none given"):
        started(DistilTrainer(), config_of(teacher, teacher=ModelConfig()), tmp_path / "run")
    other = msgspec.structs.replace(SFT, tokenizer=msgspec.structs.replace(SFT.tokenizer, word_level_split=False))
    trainer, _ = started(SFTTrainer(), other, tmp_path / "other" / "run")
    trainer.save(tmp_path / "other")
    student = ModelConfig(path=str(tmp_path / "other" / "model"))
    with pytest.raises(UserError, match="another tokenizer"):
        started(DistilTrainer(), config_of(teacher, model=student), tmp_path / "run")


def test_the_plan_counts_the_student_and_the_teacher(teacher: Path, tmp_path: Path) -> None:
    config = config_of(teacher)
    trainer, _ = started(DistilTrainer(), config, tmp_path / "run")
    assert isinstance(trainer, DistilTrainer)
    rows = {row.what: row.bytes for row in plan_distil(config)}
    assert rows["weights: teacher"] == 4 * trainer.state.teacher.num_parameters()
    assert rows["weights: student"] == 4 * trainer.state.student.num_parameters()
