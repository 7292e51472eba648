"""RLOO and GRPO on small models, fit to watch."""

from __future__ import annotations

from typing import Any

import msgspec
import torch

from rlhf_engine.config import GRPOConfig, OptimizerConfig, RLOOConfig
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState
from rlhf_engine.kl_control import FixedKL
from small_ppo import EOS, PAD, WatchedOptimizer, frozen_copy, new_policy, new_scalar_model

Config = RLOOConfig | GRPOConfig
ONLINE: dict[str, Any] = {
    "total_episodes": 16, "batch_size": 16, "samples_per_prompt": 4, "minibatches": 2, "ppo_epochs": 2,
    "micro_batch_size": 3, "response_tokens": 6, "temperature": 0.7, "kl_coef": 0.3,
    "optimizer": OptimizerConfig(lr=1e-3, schedule="constant"),
}  # fmt: skip
RLOO = RLOOConfig(**ONLINE)
GRPO = GRPOConfig(**ONLINE)
CONFIGS = [RLOO, GRPO, msgspec.structs.replace(GRPO, kl_placement="reward", divide_by_std=False, loss_mean="tokens")]
NAMES = ["rloo", "grpo", "dr-grpo"]


def new_state(config: Config, *, moved: float = 0.0) -> CriticFreeState:
    """The policy is the reference, or `moved` away from it."""
    policy = new_policy()
    models = CriticFreeModels(policy, frozen_copy(policy), frozen_copy(new_scalar_model()))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(moved * torch.randn_like(parameter))
    optimizer = WatchedOptimizer(policy.named_parameters(), config.optimizer)
    return CriticFreeState(models, optimizer, FixedKL(config.kl_coef), eos_id=EOS, pad_id=PAD)
