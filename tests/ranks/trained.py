"""Small models in float64, trained for some steps by so many ranks: every metric, and the weights at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from engine_models import random_rollout
from rlhf_engine.adapters import add_adapter, shared_copy
from rlhf_engine.config import (
    Architecture,
    DPOConfig,
    GRPOConfig,
    LoraConfig,
    OptimizerConfig,
    PPOConfig,
    Precision,
    PrecisionConfig,
    ShardingConfig,
)
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState, critic_free_update
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.layouts import SharedTrunkModels, own_parameters
from rlhf_engine.models import backbone_of
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOModels, PPOState, ppo_update
from rlhf_engine.preference_training import PreferenceState, preference_update
from rlhf_engine.ranks import Ranks
from rlhf_engine.reward_modeling import RewardModelState, reward_model_update
from rlhf_engine.sft import SFTState, sft_update
from rlhf_engine.sharding.choice import layout_of
from rlhf_engine.sharding.roles import lay_out
from rlhf_engine.sharding.state import is_shard, rest
from small_ppo import CPU, EOS, PAD, frozen_copy, new_policy, new_scalar_model

HOOKS = NoHooks()
WHOLE = ShardingConfig()
OPTIMIZER = OptimizerConfig(lr=3e-3, schedule="linear", max_grad_norm=0.5)
PROMPTS = [Prompt(str(i), "", [3 + (5 * i + j) % 30 for j in range(1 + i % 6)]) for i in range(32)]
PPO = PPOConfig(
    total_episodes=64, batch_size=16, minibatches=2, ppo_epochs=2, micro_batch_size=3, rollout_batch_size=5,
    response_tokens=6, temperature=0.7, kl_coef=0.1, whiten_rewards=True, optimizer=OPTIMIZER,
)  # fmt: skip
GRPO = GRPOConfig(
    total_episodes=64, batch_size=16, samples_per_prompt=2, minibatches=2, ppo_epochs=2, micro_batch_size=3,
    response_tokens=6, temperature=0.7, kl_coef=0.1, optimizer=OPTIMIZER,
)  # fmt: skip
Trained = tuple[list[dict[str, float]], dict[str, Any]]


def groups(count: int) -> list[ComparisonGroup]:
    """Of two or three responses of unequal lengths, one to three pairs."""
    found = []
    for i in range(count):
        responses = [[3 + (7 * i + 3 * k + j) % 30 for j in range(1 + (i + k) % 5)] + [EOS] for k in range(2 + i % 2)]
        pairs = [(0, 1)] if i % 2 == 0 else [(0, 1), (2, 1), (0, 2)]
        found.append(ComparisonGroup(PROMPTS[i % 32], [""] * len(responses), responses, pairs))
    return found


class Float64RMSNorm(LlamaRMSNorm):  # type: ignore[misc]
    """In float64 throughout; transformers' own rounds to float32, up or down as sums in another order have it."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        return F.rms_norm(hidden_states, self.weight.shape, self.weight, self.variance_epsilon)


def in_dtype(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    for module in model.modules():
        if isinstance(module, LlamaRMSNorm) and dtype is torch.float64:
            module.__class__ = Float64RMSNorm
    return model.to(dtype)


@dataclass(frozen=True)
class Setting:
    """In what numbers, of which family, laid out over the ranks how, for how many optimizer steps."""

    dtype: torch.dtype = torch.float64
    sharding: ShardingConfig = WHOLE
    architecture: Architecture = "llama"
    steps: int = 20
    compute: Precision = "float32"
    models: Literal["separate", "shared_trunk", "adapters"] = "separate"
    eager: bool = False
    checkpointing: bool = False

    def policy(self) -> Any:
        return in_dtype(new_policy(self.architecture, **self.changes), self.dtype)

    def scalar_model(self) -> Any:
        return in_dtype(new_scalar_model(self.architecture, **self.changes), self.dtype)

    @property
    def changes(self) -> dict[str, Any]:
        return {"attention": "eager" if self.eager else "sdpa", "gradient_checkpointing": self.checkpointing}

    def lay_out(self, ranks: Ranks, **models: nn.Module) -> None:
        lay_out(models, self.sharding, CPU, ranks.size)

    def optimizer(self, named: Iterable[tuple[str, nn.Parameter]], ranks: Ranks, role: str = "model") -> ScheduledAdamW:
        partitioned = layout_of(self.sharding, role) == "zero-1"
        return ScheduledAdamW(named, OPTIMIZER, self.steps, ranks, partitioned=partitioned)


def weights_of(*models: nn.Module) -> dict[str, Any]:
    """Whole ones, on every rank."""
    for model in models:
        rest(model)
    named = {f"{i}.{name}": p.detach() for i, model in enumerate(models) for name, p in model.named_parameters()}
    return {name: (tensor.full_tensor() if is_shard(tensor) else tensor).numpy() for name, tensor in named.items()}  # type: ignore[attr-defined]


def train_sft(ranks: Ranks, setting: Setting) -> Trained:
    policy = setting.policy()
    setting.lay_out(ranks, model=policy)
    state = SFTState(policy, setting.optimizer(policy.named_parameters(), ranks), ranks=ranks)
    metrics = [
        sft_update(state, random_rollout(8, seed=step), micro_batch_size=3, compute=setting.compute, hooks=HOOKS)
        for step in range(setting.steps)
    ]
    return [vars(found) for found in metrics], weights_of(policy)


def train_rm(ranks: Ranks, setting: Setting) -> Trained:
    model = setting.scalar_model()
    setting.lay_out(ranks, model=model)
    state = RewardModelState(model, setting.optimizer(model.named_parameters(), ranks), ranks=ranks)
    batches = groups(8 * setting.steps)
    metrics = [
        reward_model_update(state, batches[8 * step : 8 * step + 8], micro_batch_size=3, compute="float32", hooks=HOOKS)
        for step in range(setting.steps)
    ]
    return [vars(found) for found in metrics], weights_of(model)


def train_dpo(ranks: Ranks, setting: Setting) -> Trained:
    policy = setting.policy()
    ref_policy = frozen_copy(policy)
    setting.lay_out(ranks, model=policy, ref_model=ref_policy)
    state = PreferenceState(policy, ref_policy, setting.optimizer(policy.named_parameters(), ranks), ranks=ranks)
    config, batches = DPOConfig(optimizer=OPTIMIZER, micro_batch_size=3), groups(8 * setting.steps)
    starts = range(0, 8 * setting.steps, 8)
    metrics = [preference_update(state, batches[start : start + 8], config, HOOKS) for start in starts]
    return [vars(found) for found in metrics], weights_of(policy)


def separate(setting: Setting) -> PPOModels:
    policy, value_model = setting.policy(), setting.scalar_model()
    return PPOModels(policy, frozen_copy(policy), value_model, frozen_copy(value_model))


def shared_trunk(setting: Setting) -> PPOModels:
    models = separate(setting)
    network = models.value_model.network
    setattr(network, network.base_model_prefix, backbone_of(models.policy))
    return SharedTrunkModels(**vars(models))


def adapters(setting: Setting) -> PPOModels:
    """One frozen backbone, the reference's, under three adapters that have learned something already."""
    ref_policy, reward_model = frozen_copy(setting.policy()), setting.scalar_model()
    network = reward_model.network
    setattr(network, network.base_model_prefix, shared_copy(backbone_of(ref_policy), backbone_of(ref_policy)))
    policy = shared_copy(ref_policy, ref_policy).train()
    for model in (policy, reward_model):
        add_adapter(model, LoraConfig(rank=3))
        for name, parameter in model.named_parameters():
            if ".lora_B" in name:
                parameter.data.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    value_model = shared_copy(reward_model, backbone_of(ref_policy)).train()
    return PPOModels(policy, ref_policy, value_model, reward_model.eval().requires_grad_(False))


MODELS = {"separate": separate, "shared_trunk": shared_trunk, "adapters": adapters}


def train_ppo(ranks: Ranks, setting: Setting) -> Trained:
    """Each update has four optimizer steps."""
    models = MODELS[setting.models](setting)
    policy, value_model = models.policy, models.value_model
    setting.lay_out(
        ranks, model=policy, value_model=value_model, ref_model=models.ref_policy, reward_model=models.reward_model
    )
    policy_optimizer = setting.optimizer(policy.named_parameters(), ranks)
    value_optimizer = setting.optimizer(own_parameters(value_model, policy).items(), ranks, "value_model")
    kl, config = FixedKL(PPO.kl_coef), msgspec.structs.replace(PPO, precision=PrecisionConfig(compute=setting.compute))
    state = PPOState(models, policy_optimizer, value_optimizer, kl, eos_id=EOS, pad_id=PAD, ranks=ranks)
    metrics = []
    for update in range(setting.steps // 4):
        start = 16 * update % 32
        metrics.append(ppo_update(state, PROMPTS[start : start + 16], config, HOOKS)[1].values)
    return metrics, weights_of(policy, value_model)


def train_grpo(ranks: Ranks, setting: Setting) -> Trained:
    policy = setting.policy()
    models = CriticFreeModels(policy, frozen_copy(policy), frozen_copy(setting.scalar_model()))
    setting.lay_out(ranks, model=policy, ref_model=models.ref_policy, reward_model=models.reward_model)
    optimizer = setting.optimizer(policy.named_parameters(), ranks)
    state = CriticFreeState(models, optimizer, FixedKL(GRPO.kl_coef), eos_id=EOS, pad_id=PAD, ranks=ranks)
    config = msgspec.structs.replace(GRPO, kl_placement="reward")
    metrics = []
    for update in range(setting.steps // 4):
        start = 8 * update % 32
        metrics.append(critic_free_update(state, PROMPTS[start : start + 8], config, HOOKS)[1].values)
    return metrics, weights_of(policy)


TRAINED = {"sft": train_sft, "rm": train_rm, "dpo": train_dpo, "ppo": train_ppo, "grpo": train_grpo}


def train(ranks: Ranks, what: str, setting: Setting = Setting()) -> Trained:
    return TRAINED[what](ranks, setting)
