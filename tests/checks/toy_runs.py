"""Runs in miniature that end well: one word of three, one of three others, and stop; with their lights."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import torch

from engine_models import policy_of, scalar_model_of, word_tokenizer
from rlhf_engine.checks.live import LiveLights
from rlhf_engine.checks.online import experience_figures, online_rules
from rlhf_engine.checks.rules import Light, Rule
from rlhf_engine.checks.supervised import (
    LANGUAGE_MODEL_RULES,
    PREFERENCE_RULES,
    REWARD_MODEL_RULES,
    share_of_uniform,
)
from rlhf_engine.config import DPOConfig, GRPOConfig, IPOConfig, KTOConfig, OptimizerConfig, PPOConfig, RLOOConfig
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState, critic_free_update
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOModels, PPOState, ppo_update
from rlhf_engine.preference_training import PreferenceState, preference_update
from rlhf_engine.reward_modeling import RewardModelState, reward_model_update
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import ScalarModel
from rlhf_engine.sft import SFTState, sft_update

EOS, PAD, UNKNOWN, VOCABULARY = 0, 1, 2, 33
FIRST, SECOND = (3, 4, 5), (6, 7, 8)
SEEDS = (0, 1, 2, 3, 4)
CPU, HOOKS = torch.device("cpu"), NoHooks()
SFT_STEPS, RM_STEPS, PPO_UPDATES = 50, 40, 12
ADAM = OptimizerConfig(lr=1e-2, schedule="linear", max_grad_norm=1.0)
SLOWER = OptimizerConfig(lr=3e-3, schedule="constant", max_grad_norm=1.0)
SHARED: dict[str, Any] = {
    "batch_size": 32, "minibatches": 2, "ppo_epochs": 2, "micro_batch_size": 16, "rollout_batch_size": 32,
    "response_tokens": 8, "temperature": 1.0, "kl_coef": 0.05,
    "optimizer": OptimizerConfig(lr=3e-4, schedule="constant", max_grad_norm=1.0),
}  # fmt: skip
CONFIG = PPOConfig(**SHARED)


class Told(LiveLights):
    """Lights that also keep the worst state in which each was, and its figure then."""

    def __init__(self, rules: Sequence[Rule], total_updates: int) -> None:
        super().__init__(rules, total_updates)
        self.worst: dict[str, Light] = {}

    def observe(self, figures: Mapping[str, float], update: int) -> list[Light]:
        changed = super().observe(figures, update)
        order = ("ok", "warn", "fail")
        for light in changed:
            if light.name not in self.worst or order.index(light.state) > order.index(self.worst[light.name].state):
                self.worst[light.name] = light
        return changed

    @property
    def not_ok(self) -> dict[str, str]:
        return {name: f"{light.state} at {light.figure:g}" for name, light in self.worst.items() if light.state != "ok"}


def prompt_of(seed: int) -> list[int]:
    """Two or three words that no response has."""
    chance = random.Random(seed)
    return chance.choices(range(9, VOCABULARY), k=chance.choice([2, 3]))


def response_of(seed: int, first: Sequence[int] = FIRST) -> list[int]:
    """One word of `first`, one of SECOND, EOS."""
    chance = random.Random(-1 - seed)
    return [chance.choice(first), chance.choice(SECOND), EOS]


def batch(seed: int, rows: int = 32) -> Rollout:
    """Demonstrations."""
    seeds = range(seed * 1000, seed * 1000 + rows)
    prompts, responses = [prompt_of(row) for row in seeds], [response_of(row) for row in seeds]
    return Rollout.of_texts(prompts, responses, eos_id=EOS, pad_id=PAD, device=CPU)


def train_sft(seed: int, *, adam: OptimizerConfig = ADAM, steps: int = SFT_STEPS) -> tuple[Any, Told]:
    """A policy that writes such responses, and the lights of its training."""
    torch.manual_seed(seed)
    policy = policy_of(word_tokenizer())
    state = SFTState(policy, ScheduledAdamW(policy.named_parameters(), adam, steps))
    lights = Told(LANGUAGE_MODEL_RULES, steps)
    for step in range(1, steps + 1):
        metrics = sft_update(state, batch(step), micro_batch_size=32, compute="float32", hooks=HOOKS)
        share = share_of_uniform(metrics.loss, VOCABULARY)
        lights.observe({"loss/share_of_uniform": share, "optimizer/grad_norm": metrics.grad_norm}, step)
    return policy, lights


@cache
def trained_policy(seed: int) -> Any:
    """Trained once a seed; take a copy to change it."""
    return train_sft(seed)[0]


def comparisons(step: int, *, noise: float = 0.25, leak: int | None = None, rows: int = 16) -> list[ComparisonGroup]:
    """The first of FIRST is better than the others, in all but a share of the labels; `leak` ends all chosen ones."""
    chance = random.Random(step)
    groups = []
    for row in range(step * 1000, step * 1000 + rows):
        pair = [response_of(row, FIRST[:1]), response_of(row, FIRST[1:])]
        better = 1 if chance.random() < noise else 0
        if leak is not None:
            pair[better] = [*pair[better][:-1], leak, EOS]
        groups.append(ComparisonGroup(Prompt(str(row), "", prompt_of(row)), ["", ""], pair, [(better, 1 - better)]))
    return groups


def train_rm(
    seed: int, *, noise: float = 0.25, leak: int | None = None, steps: int = RM_STEPS
) -> tuple[ScalarModel, Told]:
    """A reward model, and the lights of its training."""
    torch.manual_seed(seed)
    model = scalar_model_of(word_tokenizer())
    state = RewardModelState(model, ScheduledAdamW(model.named_parameters(), SLOWER, RM_STEPS))
    lights = Told(REWARD_MODEL_RULES, steps)
    for step in range(1, steps + 1):
        groups = comparisons(seed * 100 + step, noise=noise, leak=leak)
        metrics = reward_model_update(state, groups, micro_batch_size=16, compute="float32", hooks=HOOKS)
        lights.observe({"accuracy/train": metrics.accuracy, "optimizer/grad_norm": metrics.grad_norm}, step)
    return model, lights


@cache
def trained_reward_model(seed: int) -> ScalarModel:
    """Trained once a seed; take a copy to change it."""
    return train_rm(seed)[0]


def train_dpo(
    seed: int,
    *,
    ref_policy: Any = None,
    steps: int = RM_STEPS,
    kind: type[DPOConfig | IPOConfig | KTOConfig] = DPOConfig,
) -> Told:
    """The lights of DPO, or of its kin, from the trained policy; `ref_policy` in place of a copy of it."""
    torch.manual_seed(seed)
    policy = copy.deepcopy(trained_policy(seed))
    reference = (ref_policy or copy.deepcopy(policy)).eval().requires_grad_(False)
    config = kind(batch_size=16, micro_batch_size=16)
    state = PreferenceState(policy, reference, ScheduledAdamW(policy.named_parameters(), SLOWER, steps))
    lights = Told(PREFERENCE_RULES, steps)
    for step in range(1, steps + 1):
        metrics = preference_update(state, comparisons(seed * 100 + step), config, HOOKS)
        figures = {
            "accuracy/train": metrics.accuracy,
            "implicit_reward/margin_max": metrics.margin_max,
            "optimizer/grad_norm": metrics.grad_norm,
        }
        lights.observe(figures, step)
    return lights


def ppo_state(seed: int, config: PPOConfig = CONFIG) -> PPOState:
    """From the trained policy and reward model, as at the start of a run."""
    policy, value_model = copy.deepcopy(trained_policy(seed)), copy.deepcopy(trained_reward_model(seed))
    frozen = [copy.deepcopy(model).eval().requires_grad_(False) for model in (policy, value_model)]
    models = PPOModels(policy, frozen[0], value_model, frozen[1])
    steps = PPO_UPDATES * config.ppo_epochs * config.minibatches
    return PPOState(
        models,
        ScheduledAdamW(policy.named_parameters(), config.optimizer, steps),
        ScheduledAdamW(value_model.named_parameters(), ADAM, steps),
        FixedKL(config.kl_coef),
        eos_id=EOS,
        pad_id=PAD,
    )


def train_ppo(state: PPOState, config: PPOConfig = CONFIG, *, updates: int = PPO_UPDATES, lights: Any = None) -> Told:
    """The lights of some updates."""
    told = lights or Told(online_rules("float32"), PPO_UPDATES)
    for update in range(state.updates_done + 1, state.updates_done + updates + 1):
        prompts = [Prompt(str(row), "", prompt_of(update * 1000 + row)) for row in range(config.batch_size)]
        experience, metrics = ppo_update(state, prompts, config, HOOKS)
        told.observe({**metrics.values, **experience_figures(experience, eos_id=EOS, whitened=True)}, update)
    return told


def train_critic_free(seed: int, kind: type[RLOOConfig | GRPOConfig]) -> Told:
    """The lights of RLOO or GRPO from the trained policy and reward model."""
    config = kind(**SHARED, samples_per_prompt=4)
    policy = copy.deepcopy(trained_policy(seed))
    frozen = [copy.deepcopy(model).eval().requires_grad_(False) for model in (policy, trained_reward_model(seed))]
    optimizer = ScheduledAdamW(policy.named_parameters(), config.optimizer, PPO_UPDATES * 4)
    models = CriticFreeModels(policy, frozen[0], frozen[1])
    state = CriticFreeState(models, optimizer, FixedKL(config.kl_coef), eos_id=EOS, pad_id=PAD)
    told = Told(online_rules("float32"), PPO_UPDATES)
    for update in range(1, PPO_UPDATES + 1):
        prompts = [Prompt(str(row), "", prompt_of(update * 1000 + row)) for row in range(config.batch_size // 4)]
        experience, metrics = critic_free_update(state, prompts, config, HOOKS)
        told.observe({**metrics.values, **experience_figures(experience, eos_id=EOS, whitened=False)}, update)
    return told


def config_with(**changes: Any) -> PPOConfig:
    return msgspec.structs.replace(CONFIG, **changes)
