"""A defect planted in a healthy run turns the light that is meant for it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from rlhf_engine import ppo, reward_modeling, sft
from rlhf_engine.checks.live import LiveLights
from rlhf_engine.checks.rules import judge
from rlhf_engine.checks.supervised import FINITE_GRADIENTS
from rlhf_engine.config import OptimizerConfig
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.losses import next_token_loss, pairwise_loss
from rlhf_engine.masking import whiten
from rlhf_engine.ppo import PPOState
from rlhf_engine.rollout import Rollout
from toy_runs import (
    EOS,
    UNKNOWN,
    config_with,
    ppo_state,
    train_dpo,
    train_ppo,
    train_rm,
    train_sft,
    trained_policy,
)

HUGE = OptimizerConfig(lr=0.3, schedule="constant")


def state_of(lights: LiveLights, name: str) -> str:
    return lights.lights[name].state


def test_a_temperature_in_one_place_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppo, "response_logprobs", lambda model, rollout, temperature: response_logprobs(model, rollout))
    config = config_with(temperature=0.7)
    assert state_of(train_ppo(ppo_state(0), config, updates=1), "ratio_on_first_minibatch") == "fail"


def test_dropout_that_is_left_on() -> None:
    state = ppo_state(0)
    state.models.policy.set_attn_implementation("eager")
    for layer in state.models.policy.model.layers:
        layer.self_attn.attention_dropout = 0.2
    lights = train_ppo(state, updates=1)
    assert state_of(lights, "ratio_on_first_minibatch") == "fail"
    assert state_of(lights, "kl_before_first_update") == "fail"


def test_a_reference_with_other_weights() -> None:
    state = ppo_state(0)
    state.models.ref_policy = trained_policy(1).eval()
    assert state_of(train_ppo(state, updates=1), "kl_before_first_update") == "fail"


def test_a_policy_far_from_its_reference() -> None:
    state = ppo_state(0)
    with torch.no_grad():
        state.models.ref_policy.get_output_embeddings().weight.mul_(-30.0)
    assert state_of(train_ppo(state, updates=1), "kl_level") == "fail"


def test_a_reward_model_without_opinion() -> None:
    state = ppo_state(0)
    state.models.reward_model.network.score.weight.zero_()
    assert state_of(train_ppo(state, updates=1), "score_extremes") == "fail"


def test_a_reward_model_that_no_longer_tells_responses_apart() -> None:
    state = ppo_state(0)
    lights = train_ppo(state, updates=1)
    state.models.reward_model.network.score.weight.mul_(1e-3)
    assert state_of(train_ppo(state, updates=1, lights=lights), "score_spread") == "fail"


def test_a_reward_model_at_two_extremes() -> None:
    state = ppo_state(0)
    head = state.models.reward_model.network.score
    head.register_forward_hook(lambda module, inputs, output: (1e6 * output).clamp(-10.0, 10.0))
    assert state_of(train_ppo(state, updates=1), "score_extremes") == "fail"


def test_a_policy_that_never_ends() -> None:
    state = ppo_state(0)
    forbid_end(state)
    assert state_of(train_ppo(state, updates=1), "eos_rate") == "fail"


def forbid_end(state: PPOState) -> None:
    """EOS's row becomes that of a word that is never written."""
    for model in (state.models.policy, state.models.ref_policy):
        with torch.no_grad():
            weight = model.get_output_embeddings().weight
            weight[EOS] = weight[20]


def test_a_policy_without_entropy() -> None:
    state = ppo_state(0)
    for model in (state.models.policy, state.models.ref_policy):
        head = model.get_output_embeddings()
        head.weight = torch.nn.Parameter(5000.0 * head.weight.detach())
    assert state_of(train_ppo(state, updates=1), "entropy_floor") == "fail"


def test_a_learning_rate_that_is_far_too_high() -> None:
    lights = train_ppo(ppo_state(0, config_with(optimizer=HUGE)), config_with(optimizer=HUGE), updates=2)
    assert lights.worst["clip_fraction"].state == "fail"
    assert lights.worst["log_ratio_in_fp16"].state == "fail"


def test_a_learning_rate_that_is_raised_on_the_way() -> None:
    state = ppo_state(0)
    lights = train_ppo(state, updates=8)
    state.policy_optimizer.config = HUGE
    train_ppo(state, updates=2, lights=lights)
    assert lights.worst["kl_spike"].state == "fail"


def test_masks_that_miss_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Rollout.of_samples

    def short(prompt_tokens: Tensor, prompt_mask: Tensor, sampled: Tensor, *, eos_id: int, pad_id: int) -> Rollout:
        rollout = real(prompt_tokens, prompt_mask, sampled, eos_id=eos_id, pad_id=pad_id)
        last = torch.nn.functional.one_hot(rollout.response_lengths - 1, rollout.response_mask.shape[1]).bool()
        return replace(rollout, response_mask=rollout.response_mask & ~last)

    monkeypatch.setattr(Rollout, "of_samples", short)
    assert state_of(train_ppo(ppo_state(0), updates=1), "response_masks") == "fail"


def test_whitening_that_forgets_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppo, "whiten", lambda values, mask: whiten(values, mask) + 1.0)
    assert state_of(train_ppo(ppo_state(0), updates=1), "advantage_moments") == "fail"


def test_a_critic_that_knows_less_than_a_constant() -> None:
    state = ppo_state(0)
    state.models.value_model.network.score.weight.data.mul_(-20.0)
    state.value_optimizer.config = OptimizerConfig(lr=0.0)
    assert state_of(train_ppo(state), "value_explained_variance") == "fail"


def test_a_critic_whose_gradient_explodes() -> None:
    state = ppo_state(0)
    lights = train_ppo(state, updates=8)
    state.models.value_model.network.score.weight.data.mul_(1000.0)
    train_ppo(state, updates=1, lights=lights)
    assert state_of(lights, "value_gradient_norm") == "fail"


def test_a_gradient_that_explodes_in_sft() -> None:
    lights = planted_sft(lambda update: 1000.0 if update == 30 else 1.0)
    assert lights.worst["gradient_norm"].state == "fail"


def planted_sft(scale: Callable[[int], float]) -> Any:
    """SFT whose loss is multiplied at some updates."""
    updates = iter(range(1, 1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft, "next_token_loss", lambda *parts: next_token_loss(*parts) * scale(next(updates)))
        return train_sft(0)[1]


def test_a_model_that_learns_nothing() -> None:
    _, lights = train_sft(0, adam=OptimizerConfig(lr=0.0))
    assert state_of(lights, "loss_below_uniform") == "fail"


def test_labels_by_the_toss_of_a_coin() -> None:
    _, lights = train_rm(0, noise=0.5)
    assert lights.worst["accuracy_above_chance"].state in ("warn", "fail")


def test_chosen_and_rejected_that_are_swapped_for_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(chosen: Tensor, rejected: Tensor, *rest: Any, **named: Any) -> Tensor:
        return pairwise_loss(rejected, chosen, *rest, **named)

    monkeypatch.setattr(reward_modeling, "pairwise_loss", swapped)
    _, lights = train_rm(0)
    assert state_of(lights, "accuracy_above_chance") == "fail"


def test_labels_that_leak_into_the_text() -> None:
    _, lights = train_rm(0, leak=UNKNOWN, steps=60)
    assert lights.worst["accuracy_too_good"].state == "fail"


def test_preferences_against_other_weights() -> None:
    lights = train_dpo(0, ref_policy=trained_policy(1), steps=1)
    assert state_of(lights, "margins_before_first_update") == "fail"


@pytest.mark.parametrize("norm", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite(norm: float) -> None:
    assert judge(FINITE_GRADIENTS, norm).state == "fail"
    assert judge(FINITE_GRADIENTS, 1e30).state == "ok"
