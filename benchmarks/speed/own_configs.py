"""Our settings in each stage: the config that `rlhf run` would have."""

from __future__ import annotations

from typing import Any

import msgspec

from benchmarks.speed.task import COMPARISONS, DEMONSTRATIONS, LR, POLICY, PPO_EPOCHS, REWARD_MODEL, Task
from rlhf_engine.config import DPOConfig, PPOConfig, RLOOConfig, RMConfig, SFTConfig

ENDLESS = 1_000_000


def sft_config(task: Task) -> SFTConfig:
    return msgspec.convert(_supervised(task, POLICY, DEMONSTRATIONS), SFTConfig)


def rm_config(task: Task) -> RMConfig:
    return msgspec.convert(_supervised(task, REWARD_MODEL, COMPARISONS) | {"score_norm": "none"}, RMConfig)


def dpo_config(task: Task) -> DPOConfig:
    return msgspec.convert(_supervised(task, POLICY, COMPARISONS), DPOConfig)


def ppo_config(task: Task) -> PPOConfig:
    return msgspec.convert(_online(task) | {"ppo_epochs": PPO_EPOCHS} | task.settings, PPOConfig)


def rloo_config(task: Task) -> RLOOConfig:
    return msgspec.convert(_online(task) | task.settings, RLOOConfig)


def _online(task: Task) -> dict[str, Any]:
    settings = _shared(task, DEMONSTRATIONS)
    settings["optimizer"] |= {"max_grad_norm": 0.0}
    return settings | {
        "model": {"path": task.path(POLICY)},
        "reward_model": {"path": task.path(REWARD_MODEL)},
        "total_episodes": ENDLESS * task.rows,
        "micro_batch_size": min(task.shape.micro_batch, task.rows),
        "rollout_batch_size": task.rows,
        "response_tokens": task.shape.response,
        "temperature": 1.0,
        "missing_eos": "subtract",
        "sample_count": 0,
    }


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
