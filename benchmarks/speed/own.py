"""Our side: the trainers as `rlhf run` has them, but for the run's files (telemetry is measured on its own)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.speed.own_configs import dpo_config, ppo_config, rloo_config, rm_config, sft_config
from benchmarks.speed.task import Task
from benchmarks.speed.turns import Turns
from benchmarks.telemetry import SilentRun
from rlhf_engine.collecting import roll_out
from rlhf_engine.config import TrainerConfig
from rlhf_engine.packing import Rows
from rlhf_engine.rollout import Rollout
from rlhf_plugins.critic_free.trainer import CriticFreeTrainer
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.ppo.trainer import PPOTrainer
from rlhf_plugins.preferences.trainer import PreferenceTrainer
from rlhf_plugins.rm.trainer import RewardModelTrainer
from rlhf_plugins.sft.trainer import SFTTrainer
from rlhf_sdk.checkpoints import latest_good, write_checkpoint


def sft(task: Task, turns: Turns) -> None:
    _take_turns(SFTTrainer(), sft_config(task), task, turns, {"loss": "loss/nats_per_token"})


def rm(task: Task, turns: Turns) -> None:
    _take_turns(RewardModelTrainer(), rm_config(task), task, turns, {"loss": "loss/pairwise"})


def dpo(task: Task, turns: Turns) -> None:
    _take_turns(PreferenceTrainer(), dpo_config(task), task, turns, {"loss": "loss/preference"})


def ppo(task: Task, turns: Turns) -> None:
    names = {"entropy": "policy/entropy_nats", "score": "reward/score_mean", "kl": "kl/sequence_nats"}
    names["ended"] = "response/eos_share"
    _take_turns(PPOTrainer(), ppo_config(task), task, turns, names)


def rloo(task: Task, turns: Turns) -> None:
    names = {"entropy": "policy/entropy_nats", "score": "reward/score_mean"}
    _take_turns(CriticFreeTrainer(), rloo_config(task), task, turns, names)


def rloo_apart(task: Task, turns: Turns) -> None:
    """The same, with each response behind a prompt of its own."""

    def apart(rollout: Rollout) -> tuple[Rows, Tensor]:
        return rollout.token_rows, rollout.places

    with patch("rlhf_engine.rollout_states.with_shared_prompts", apart):
        rloo(task, turns)


def generation(task: Task, turns: Turns) -> None:
    """The rollout phase of PPO on `rows` prompts."""
    trainer, config = PPOTrainer(), ppo_config(task)
    trainer.setup(SilentRun(config, Path(task.folder)))
    prompts = trainer.prompts[: task.rows]
    turns.ready()
    while True:
        turns.begin()
        with torch.no_grad():
            rollout = roll_out(trainer.state, prompts, config, trainer.run)
        turns.end(tokens=int(rollout.response_mask.sum()))


def saving(task: Task, turns: Turns) -> None:
    """A checkpoint of SFT: weights, moments, hashes; in place when it is whole and on the disk."""
    trainer, folder = _begun(task), Path(task.path("checkpoints"))
    turns.ready()
    while True:
        turns.begin()
        write_checkpoint(folder, 1, trainer.save)
        turns.end()


def loading(task: Task, turns: Turns) -> None:
    """The newest checkpoint that is good, by its hashes, into a trainer that is set up."""
    trainer, folder = _begun(task), Path(task.path("checkpoints"))
    write_checkpoint(folder, 1, trainer.save)
    turns.ready()
    while True:
        turns.begin()
        found, _ = latest_good(folder)
        if found is None:
            raise FileNotFoundError(f"no good checkpoint in {folder}")
        trainer.load(found)
        turns.end()


def _begun(task: Task) -> SFTTrainer:
    """After one step, so that there are moments."""
    trainer = SFTTrainer()
    trainer.setup(SilentRun(sft_config(task), Path(task.folder)))
    trainer.step()
    return trainer


def _take_turns(
    trainer: EngineTrainer, config: TrainerConfig, task: Task, turns: Turns, metrics: Mapping[str, str]
) -> None:
    """`metrics`: what a turn tells, by the name that both sides have for it."""
    trainer.setup(SilentRun(config, Path(task.folder)))
    turns.ready()
    while True:
        turns.begin()
        found = trainer.step() or {}
        turns.end(**{name: found[metric] for name, metric in metrics.items()})
