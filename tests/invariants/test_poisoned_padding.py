"""32: what stands in masked places reaches no loss, reward, gradient or metric, even if it is NaN."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine_models import ARCHITECTURES, random_rollout, small_model, word_tokenizer
from padding import Poison, replace_everywhere
from rlhf_engine import (
    critic_free,
    logprobs,
    losses,
    masking,
    ppo,
    reward_modeling,
    rollout,
    scalar_models,
    sft,
    trunk,
)
from rlhf_engine.config import Architecture, GRPOConfig, RLOOConfig
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.reward_modeling import RewardModelState
from rlhf_engine.scalar_heads import HeadShape
from rlhf_engine.sft import SFTState
from small_ppo import (
    CONFIG,
    CPU,
    EOS,
    HOOKS,
    PAD,
    PROMPTS,
    WatchedOptimizer,
    assert_equal_gradients,
    config_with,
    frozen_copy,
    new_policy,
    new_scalar_model,
    new_state,
    step_gradients,
    weight_hash,
)

POISONS = [math.nan, math.inf]
OUTPUTS = [
    (logprobs, "response_logprobs"),
    (logprobs, "response_logprobs_and_entropies"),
    (scalar_models, "response_values"),
    (rollout, "in_micro_batches"),
]
"""Everything [B, R] that comes out of a model's forward. Of packed rows no state is padding's."""
PER_TOKEN = ("kl_penalized_rewards", "whiten_keeping_mean", "generalized_advantages", "whiten")
"""What PPO makes of that, [B, R]."""
GROUPS = [
    ComparisonGroup(Prompt("a", "", [5, 6, 7]), ["", "", ""], [[8, 0], [9, 10, 11, 0], [12, 0]], [(0, 1), (2, 0)]),
    ComparisonGroup(Prompt("b", "", [5] * 9), ["", ""], [[13, 14, 0], [15, 0]], [(1, 0)]),
]


def poison_model_outputs(patch: pytest.MonkeyPatch, value: float) -> Poison:
    poison = Poison(value)
    for module, name in OUTPUTS:
        replace_everywhere(patch, module, name, poison)
    return poison


def ppo_run(config: Any, architecture: Architecture) -> tuple[dict[str, float], list[Any], list[str]]:
    """Metrics, gradients of all steps and hashes of what was learned, of one update."""
    state = new_state(config, architecture)
    _, metrics = ppo.ppo_update(state, PROMPTS, config, HOOKS)
    learners = (state.models.policy, state.models.value_model)
    return metrics.values, step_gradients(state), [weight_hash(model) for model in learners]


@pytest.mark.parametrize("value", POISONS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_32_nan_in_masked_places_changes_no_bit_of_a_ppo_update(
    architecture: Architecture, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_with(whiten_rewards=True, kl_coef=0.3)
    clean = ppo_run(config, architecture)
    poison = poison_model_outputs(monkeypatch, value)
    for name in PER_TOKEN:
        monkeypatch.setattr(ppo, name, poison(getattr(ppo, name)))
    spoilt = ppo_run(config, architecture)
    assert poison.spoilt == {name for _, name in OUTPUTS} | set(PER_TOKEN)
    assert spoilt[0] == clean[0]
    assert all(math.isfinite(figure) for figure in clean[0].values())
    for ours, theirs in zip(spoilt[1], clean[1], strict=True):
        assert_equal_gradients(ours, theirs)
    assert spoilt[2] == clean[2]


ONLINE: dict[str, Any] = {
    "total_episodes": 32, "batch_size": 8, "samples_per_prompt": 2, "response_tokens": 6, "micro_batch_size": 3,
    "optimizer": CONFIG.optimizer,
}  # fmt: skip


@pytest.mark.parametrize("config", [RLOOConfig(**ONLINE), GRPOConfig(**ONLINE)], ids=["rloo", "grpo"])
def test_32_nan_in_masked_places_changes_no_bit_of_a_critic_free_update(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> tuple[dict[str, float], Any]:
        policy = new_policy()
        roles = CriticFreeModels(policy, frozen_copy(policy), frozen_copy(new_scalar_model()))
        optimizer = WatchedOptimizer(policy.named_parameters(), config.optimizer)
        state = CriticFreeState(roles, optimizer, FixedKL(0.05), eos_id=EOS, pad_id=PAD)
        _, metrics = critic_free.critic_free_update(state, PROMPTS[:4], config, HOOKS)
        return metrics.values, optimizer.gradients[0]

    clean = run()
    poison = poison_model_outputs(monkeypatch, math.nan)
    spoilt = run()
    assert poison.spoilt == {name for _, name in OUTPUTS} - {"response_values"}
    assert spoilt[0] == clean[0]
    assert_equal_gradients(spoilt[1], clean[1])


@pytest.mark.parametrize("value", POISONS)
def test_32_nan_in_masked_places_changes_no_bit_of_an_sft_update(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> tuple[Any, Any]:
        policy = new_policy()
        optimizer = WatchedOptimizer(policy.named_parameters(), CONFIG.optimizer)
        state = SFTState(policy, optimizer)
        metrics = sft.sft_update(state, random_rollout(), micro_batch_size=3, compute="float32", hooks=HOOKS)
        held_out = sft.held_out_loss(policy, [random_rollout(seed=1)], compute="float32", hooks=HOOKS)
        return (metrics, held_out), optimizer.gradients[0]

    clean = run()
    poison = poison_model_outputs(monkeypatch, value)
    spoilt = run()
    assert poison.spoilt == {"response_logprobs"}
    assert spoilt[0] == clean[0]
    assert_equal_gradients(spoilt[1], clean[1])


@pytest.mark.parametrize("shape", [HeadShape(), HeadShape("mlp", "mean", 2)], ids=str)
@pytest.mark.parametrize("value", POISONS)
def test_32_nan_in_padding_changes_no_bit_of_a_reward_model_update(
    value: float, shape: HeadShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> tuple[Any, Any]:
        torch.manual_seed(0)
        model = scalar_models.load_scalar_model(small_model(attention="eager"), word_tokenizer(), CPU, head_shape=shape)
        optimizer = WatchedOptimizer(model.named_parameters(), CONFIG.optimizer)
        metrics = reward_modeling.reward_model_update(
            RewardModelState(model, optimizer), GROUPS, micro_batch_size=2, compute="float32", hooks=HOOKS
        )
        return metrics, optimizer.gradients[0]

    clean = run()
    poison = Poison(value)
    replace_everywhere(monkeypatch, trunk, "padded_states", poison)
    spoilt = run()
    assert poison.spoilt == {"padded_states"}
    assert spoilt[0] == clean[0]
    assert_equal_gradients(spoilt[1], clean[1])


@pytest.mark.parametrize("value", POISONS)
def test_32_statistics_and_losses_replace_masked_places_before_any_arithmetic(value: float) -> None:
    """Values and gradients: 0 * NaN is NaN, so masking afterwards would come too late."""
    mask = torch.tensor([[True, True, False], [True, False, False]])

    def results(fill: float) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        x, y, z = (torch.randn(2, 3, generator=generator).masked_fill(~mask, fill).requires_grad_() for _ in range(3))
        scalars = [
            masking.masked_mean(x, mask),
            masking.masked_var(x, mask),
            masking.whiten(x, mask).square().sum(),
            masking.whiten_keeping_mean(x, mask).square().sum(),
            losses.next_token_loss(x, mask),
            losses.clipped_policy_loss(x, y.detach(), z.detach(), mask, clip_range=0.2),
            losses.clipped_value_loss(x, y.detach(), z.detach(), mask, value_clip_range=0.2),
            losses.reference_kl_loss(x, y.detach(), mask),
        ]
        return [part for scalar in scalars for part in (scalar, *torch.autograd.grad(scalar, x))]

    for clean, spoilt in zip(results(0.0), results(value), strict=True):
        assert torch.equal(clean, spoilt)
