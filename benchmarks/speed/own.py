"""Our side: the trainers as `rlhf run` has them, but for the run's files (telemetry is measured on its own)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import torch

from benchmarks.speed.task import COMPARISONS, DEMONSTRATIONS, LR, MICRO_BATCH, POLICY, PPO_EPOCHS, REWARD_MODEL, Task
from benchmarks.speed.turns import Turns
from benchmarks.telemetry import SilentRun
from rlhf_engine.collecting import roll_out
from rlhf_engine.config import DPOConfig, PPOConfig, RMConfig, SFTConfig, TrainerConfig
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.ppo.trainer import PPOTrainer
from rlhf_plugins.preferences.trainer import PreferenceTrainer
from rlhf_plugins.rm.trainer import RewardModelTrainer
from rlhf_plugins.sft.trainer import SFTTrainer

ENDLESS = 1_000_000


def sft(task: Task, turns: Turns) -> None:
    config = msgspec.convert(_supervised(task, POLICY, DEMONSTRATIONS), SFTConfig)
    _take_turns(SFTTrainer(), config, task, turns, loss="loss/nats_per_token")


def rm(task: Task, turns: Turns) -> None:
    settings = _supervised(task, REWARD_MODEL, COMPARISONS)
    config = msgspec.convert(settings | {"score_norm": "none"}, RMConfig)
    _take_turns(RewardModelTrainer(), config, task, turns, loss="loss/pairwise")


def dpo(task: Task, turns: Turns) -> None:
    config = msgspec.convert(_supervised(task, POLICY, COMPARISONS), DPOConfig)
    _take_turns(PreferenceTrainer(), config, task, turns, loss="loss/preference")


def ppo(task: Task, turns: Turns) -> None:
    _take_turns(PPOTrainer(), _ppo_config(task), task, turns, loss="loss/value")


def generation(task: Task, turns: Turns) -> None:
    """The rollout phase of PPO on `rows` prompts."""
    trainer = PPOTrainer()
    config = _ppo_config(task)
    trainer.setup(SilentRun(config, Path(task.folder)))
    prompts = trainer.prompts[: task.rows]
    turns.ready()
    while True:
        turns.begin()
        with torch.no_grad():
            rollout = roll_out(trainer.state, prompts, config, trainer.run)
        turns.end(tokens=int(rollout.response_mask.sum()))


def _take_turns(trainer: EngineTrainer, config: TrainerConfig, task: Task, turns: Turns, *, loss: str) -> None:
    trainer.setup(SilentRun(config, Path(task.folder)))
    turns.ready()
    while True:
        turns.begin()
        metrics = trainer.step()
        turns.end(loss=metrics[loss] if metrics else float("nan"))


def _supervised(task: Task, model: str, data: str) -> dict[str, Any]:
    return _shared(task, data) | {"model": {"path": task.path(model)}, "epochs": ENDLESS, "micro_batch_size": task.rows}


def _shared(task: Task, data: str) -> dict[str, Any]:
    shape = task.shape
    return {
        "data": {
            "source": [task.path(data)],
            "template": "plain",
            "max_prompt_tokens": shape.prompt,
            "max_response_tokens": shape.response,
        },
        "optimizer": {"lr": LR, "schedule": "constant", "eps": 1e-8, "max_grad_norm": 1.0},
        "precision": {"compute": task.precision},
        "batch_size": task.rows,
        "device": task.device,
        "threads": task.threads,
    }


def _ppo_config(task: Task) -> PPOConfig:
    settings = _shared(task, DEMONSTRATIONS)
    settings["optimizer"] |= {"max_grad_norm": 0.0}
    values = settings | {
        "model": {"path": task.path(POLICY)},
        "reward_model": {"path": task.path(REWARD_MODEL)},
        "total_episodes": ENDLESS * task.rows,
        "micro_batch_size": min(MICRO_BATCH, task.rows),
        "rollout_batch_size": task.rows,
        "ppo_epochs": PPO_EPOCHS,
        "response_tokens": task.shape.response,
        "temperature": 1.0,
        "missing_eos": "subtract",
        "sample_count": 0,
    }
    return msgspec.convert(values | task.settings, PPOConfig)
