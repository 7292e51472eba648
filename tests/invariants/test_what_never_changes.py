"""The reference and the reward model never learn, and where nothing is to be learned nothing moves."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engine_models import ARCHITECTURES, small_model, word_tokenizer
from rlhf_engine import critic_free, ppo, preference_training, update_metrics
from rlhf_engine.config import Architecture, DPOConfig, GRPOConfig, ModelConfig, OptimizerConfig, RLOOConfig
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.layouts import load_ppo_models
from rlhf_engine.models import save_model
from rlhf_engine.preference_training import PreferenceState
from rlhf_engine.scalar_models import load_scalar_model
from small_ppo import (
    CONFIG,
    CPU,
    EOS,
    HOOKS,
    PAD,
    PROMPTS,
    WatchedOptimizer,
    config_with,
    frozen_copy,
    gradients_of,
    new_experience,
    new_policy,
    new_scalar_model,
    new_state,
    weight_hash,
)

LEARNING = OptimizerConfig(lr=1e-3, schedule="constant")
ONLINE: dict[str, Any] = {
    "total_episodes": 32, "batch_size": 8, "samples_per_prompt": 2, "response_tokens": 4, "optimizer": LEARNING,
}  # fmt: skip


def willing_to_learn(*models: nn.Module) -> list[str]:
    """Hashes of models whose parameters would take a gradient if one came their way."""
    for model in models:
        model.requires_grad_(True)
    return [weight_hash(model) for model in models]


def assert_untouched(hashes: list[str], *models: nn.Module) -> None:
    assert hashes == [weight_hash(model) for model in models]
    assert all(parameter.grad is None for model in models for parameter in model.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_10_ppo_changes_neither_reference_nor_reward_model(architecture: Architecture) -> None:
    state = new_state(CONFIG, architecture)
    models = state.models
    frozen, learning = (models.ref_policy, models.reward_model), (models.policy, models.value_model)
    before, learners = willing_to_learn(*frozen), [weight_hash(model) for model in learning]
    for _ in range(3):
        ppo.ppo_update(state, PROMPTS, CONFIG, HOOKS)
    assert_untouched(before, *frozen)
    assert not set(learners) & {weight_hash(model) for model in learning}


@pytest.mark.parametrize("config", [RLOOConfig(**ONLINE), GRPOConfig(**ONLINE)], ids=["rloo", "grpo"])
def test_10_critic_free_training_changes_neither_reference_nor_reward_model(config: Any) -> None:
    policy = new_policy()
    models = CriticFreeModels(policy, frozen_copy(policy), frozen_copy(new_scalar_model()))
    optimizer = WatchedOptimizer(policy.named_parameters(), config.optimizer)
    state = CriticFreeState(models, optimizer, FixedKL(0.05), eos_id=EOS, pad_id=PAD)
    before, learner = willing_to_learn(models.ref_policy, models.reward_model), weight_hash(policy)
    for _ in range(2):
        critic_free.critic_free_update(state, PROMPTS[:4], config, HOOKS)
    assert_untouched(before, models.ref_policy, models.reward_model)
    assert weight_hash(policy) != learner


def test_10_preferences_do_not_change_the_reference() -> None:
    policy = new_policy()
    state = PreferenceState(policy, frozen_copy(policy), WatchedOptimizer(policy.named_parameters(), LEARNING))
    groups = [ComparisonGroup(Prompt("a", "", [5, 6]), ["", ""], [[7, 8, 0], [9, 0]], [(0, 1)])]
    before, learner = willing_to_learn(state.ref_policy), weight_hash(policy)
    for _ in range(2):
        preference_training.preference_update(state, groups, DPOConfig(), HOOKS)
    assert_untouched(before, state.ref_policy)
    assert weight_hash(policy) != learner


def test_10_loaded_roles_share_no_weight_and_two_are_frozen(tmp_path: Path) -> None:
    save_model(new_policy(), word_tokenizer(), tmp_path / "policy")
    save_model(new_scalar_model(), word_tokenizer(), tmp_path / "scores")
    policy, scores = (ModelConfig(path=str(tmp_path / name)) for name in ("policy", "scores"))
    config = config_with(model=policy, reward_model=scores)
    models = load_ppo_models(config, word_tokenizer(), CPU, HOOKS)
    learning, frozen = (models.policy, models.value_model), (models.ref_policy, models.reward_model)
    assert all(parameter.requires_grad for model in learning for parameter in model.parameters())
    assert not any(parameter.requires_grad for model in frozen for parameter in model.parameters())
    places = [parameter.data_ptr() for model in (*learning, *frozen) for parameter in model.parameters()]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_11_learning_rate_0_changes_nothing(architecture: Architecture) -> None:
    config = config_with(optimizer=OptimizerConfig(lr=0.0))
    state = new_state(config, architecture)
    roles = (state.models.policy, state.models.value_model, state.models.ref_policy, state.models.reward_model)
    before = [weight_hash(role) for role in roles]
    for _ in range(4):
        _, metrics = ppo.ppo_update(state, PROMPTS, config, HOOKS)
        assert metrics.values["kl/token_max_nats"] == 0.0
        assert metrics.values["policy/ratio_max_deviation"] <= 1e-5
        assert metrics.values["policy/log_ratio_max_nats"] <= 1e-5
        assert metrics.values["optimizer/grad_norm"] > 0.0
    assert before == [weight_hash(role) for role in roles]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_12_without_advantages_the_gradient_is_zero(architecture: Architecture) -> None:
    config = config_with(vf_coef=0.0)
    state = new_state(config, architecture)
    experience = new_experience(state, config)
    idle = dataclasses.replace(experience, advantages=torch.zeros_like(experience.advantages))
    ppo.ppo_loss(state.models, idle, idle, config, update_metrics.UpdateStatistics()).backward()
    gradients = [g for g in gradients_of(state.models.policy, state.models.value_model).values() if g is not None]
    assert len(gradients) > 20
    assert all(float(gradient.abs().max()) == 0.0 for gradient in gradients)


def test_12_an_update_without_rewards_moves_nothing() -> None:
    """Scores, values and KL penalty are 0 for every response, so that nothing is better or worse than expected."""
    config = config_with(vf_coef=0.0, kl_coef=0.0, missing_eos_value=0.0)
    state = new_state(config)
    zero = load_scalar_model(small_model(), word_tokenizer(), CPU, head_init="zero")
    state.models.value_model, state.models.reward_model = zero, frozen_copy(zero)
    before = weight_hash(state.models.policy)
    _, metrics = ppo.ppo_update(state, PROMPTS, config, HOOKS)
    assert metrics.values["optimizer/grad_norm"] == 0.0
    assert metrics.values["loss/policy"] == 0.0
    assert weight_hash(state.models.policy) == before
