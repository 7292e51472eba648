"""The probe within PPO and GRPO: it sees what the policy writes, moves nothing, and goes on after a restart."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from recording_run import RecordingRun
from rlhf_engine.config import OptimizerConfig, ProbeConfig
from rlhf_engine.data.world import Post, gold_score
from rlhf_plugins.online_trainer import OnlineTrainer
from rlhf_plugins.rm.trainer import RewardModelTrainer
from rlhf_plugins.sft.trainer import SFTTrainer
from rlhf_sdk.trainer import UserError
from test_trainers_resume import SFT, TRAINERS, config_of, rm_config, started, steps, weights, world

PROBE = ProbeConfig(every=2, size=8)


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
    trainer, _ = started(RewardModelTrainer(), rm_config(sft), directory / "run")
    steps(trainer, 1)
    assert isinstance(trainer, RewardModelTrainer)
    trainer.finish()
    trainer.save(directory)
    return directory / "model"


def probed(kind: str, sft: Path, rm: Path, probe: ProbeConfig = PROBE) -> Any:
    return msgspec.structs.replace(config_of(kind, sft, rm), probe=probe, total_episodes=48)


def begun(kind: str, config: Any, folder: Path) -> tuple[OnlineTrainer, RecordingRun]:
    trainer, run = started(TRAINERS[kind](), config, folder)
    assert isinstance(trainer, OnlineTrainer)
    return trainer, run


@pytest.mark.parametrize("kind", ["ppo", "grpo"])
def test_training_is_the_same_with_and_without_a_probe(kind: str, sft: Path, rm: Path, tmp_path: Path) -> None:
    without, _ = begun(kind, probed(kind, sft, rm, ProbeConfig()), tmp_path / "without")
    watched, run = begun(kind, probed(kind, sft, rm), tmp_path / "with")
    plain, seen = steps(without, 3), steps(watched, 3)
    assert [{name: row[name] for name in row if not name.startswith("probe/")} for row in seen] == plain
    assert all(torch.equal(a, b) for a, b in zip(weights(without), weights(watched), strict=True))
    assert ["probe/kl_sequence_nats" in row for row in seen] == [False, True, True], "every second one, and the last"
    watched.finish()
    assert len([sample for sample in run.samples if sample["tag"] == "probe"]) == 3 * PROBE.size
    assert set(run.results["reward_hacking"]) == {"tables", "figures", "second", "best_checkpoint"}


def test_a_policy_that_stays_writes_the_same_each_time(sft: Path, rm: Path, tmp_path: Path) -> None:
    still = {"optimizer": OptimizerConfig(lr=0.0), "total_episodes": 32}
    trainer, run = begun("ppo", msgspec.structs.replace(probed("ppo", sft, rm), **still), tmp_path / "run")
    steps(trainer, 2)
    trainer.finish()
    assert trainer.probing is not None
    baseline, newest = trainer.probing.watch.baseline, trainer.probing.watch.newest
    assert baseline is not None and newest is not None and (baseline.step, newest.step) == (0, 2)
    assert {**vars(baseline), "step": 2} == vars(newest)
    assert baseline.kl_nats == [0.0] * PROBE.size
    before, after = (
        [sample["response"] for sample in run.samples if sample["tag"] == "probe"][half] for half in (0, PROBE.size)
    )
    assert before == after


def test_gold_is_the_second_opinion_in_the_world(sft: Path, rm: Path, tmp_path: Path) -> None:
    trainer, run = begun("ppo", probed("ppo", sft, rm), tmp_path / "run")
    steps(trainer, 1)
    assert trainer.probing is not None and trainer.probing.watch.second_name == "gold"
    prompts, shown = trainer.probing.probe.prompts, [row for row in run.samples if row["tag"] == "probe"]
    training = {trainer.prompts[i].text for i in range(len(trainer.prompts))}
    for prompt, row in zip(prompts, shown, strict=True):
        expected = gold_score(Post.from_record(prompt.record), row["response"], ended=row["ended"])
        assert row["metrics"]["gold"] == expected
        assert prompt.text not in training


def test_a_second_reward_model_and_heads_that_disagree(sft: Path, rm: Path, tmp_path: Path) -> None:
    named = ProbeConfig(every=2, size=8, reward_model=str(rm))
    trainer, _ = begun("ppo", probed("ppo", sft, rm, named), tmp_path / "run")
    steps(trainer, 1)
    assert trainer.probing is not None and trainer.probing.watch.second_name == "second reward model"
    reading = trainer.probing.watch.baseline
    assert reading is not None
    pairs = zip(reading.proxy, reading.second, reading.ended, strict=True)
    assert all(proxy == second if ended else proxy == -1.0 for proxy, second, ended in pairs), "the same model"


@pytest.mark.parametrize(("kind", "leave_at"), [("grpo", 0), ("ppo", 30)])
def test_resumed_equals_straight_with_a_probe(kind: str, leave_at: int, sft: Path, rm: Path, tmp_path: Path) -> None:
    config = probed(kind, sft, rm)
    straight, straight_run = begun(kind, config, tmp_path / "straight")
    expected = steps(straight, 3)
    left, run = begun(kind, config, tmp_path / "left")
    if leave_at:
        leave_within_the_first_step(left, run, leave_at, tmp_path / "checkpoint")
        steps(left, 1)
    else:
        steps(left, 1)
        left.save(tmp_path / "checkpoint")
    resumed, resumed_run = begun(kind, config, tmp_path / "resumed")
    resumed.load(tmp_path / "checkpoint")
    first = resumed.steps_done
    assert first == (0 if leave_at else 1)
    assert steps(resumed, 3 - first) == expected[first:]
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))
    for trainer in (straight, resumed):
        trainer.finish()
    assert straight.probing and resumed.probing
    assert straight.probing.watch == resumed.probing.watch
    assert straight_run.results == resumed_run.results
    probes = [[row for row in each.samples if row["tag"] == "probe"] for each in (straight_run, resumed_run)]
    assert probes[0][PROBE.size * first :] == probes[1]


def leave_within_the_first_step(trainer: OnlineTrainer, run: RecordingRun, at: int, checkpoint: Path) -> None:
    """Saves at the safe point number `at` of those at which the trainer can be left."""
    points: list[None] = []

    def save_here() -> None:
        if trainer.can_leave():
            points.append(None)
            if len(points) == at:
                checkpoint.mkdir()
                trainer.save(checkpoint)

    run.safe_point = save_here  # type: ignore[method-assign]


def test_files_need_a_probe_set_of_their_own(sft: Path, rm: Path, tmp_path: Path) -> None:
    posts = tmp_path / "posts.jsonl"
    posts.write_text('{"subreddit": "tea", "title": "a cup", "post": "the cup fell", "summary": "it fell"}\n' * 2)
    data = msgspec.structs.replace(world(6, 0), source=[str(posts)])
    config = msgspec.structs.replace(probed("ppo", sft, rm), data=data)
    with pytest.raises(UserError, match=r"probe.data.source.*no validation split"):
        begun("ppo", config, tmp_path / "run")
