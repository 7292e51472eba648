"""73, and of 39 what belongs to k3: the KL coefficient, updates and estimates of KL."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
import torch

from rlhf_engine import critic_free
from rlhf_engine.config import PPOConfig, RLOOConfig
from rlhf_engine.errors import ConfigError
from rlhf_engine.kl_control import AdaptiveKL, adapted_kl_coef, kl_controller
from rlhf_engine.losses import reference_kl_loss
from rlhf_engine.rewards import k3_token_kl
from small_critic_free import ONLINE, RLOO, new_state
from small_ppo import HOOKS, PROMPTS


@pytest.mark.parametrize("coef", [0.01, 0.3])
def test_73_at_the_target_the_coefficient_stays(coef: float) -> None:
    assert adapted_kl_coef(coef, 6.0, target_nats=6.0, gain=0.1) == coef


@pytest.mark.parametrize(
    ("kl", "change"), [(6.6, 0.1), (5.4, -0.1), (7.2, 0.2), (60.0, 0.2), (0.0, -0.2), (-3.0, -0.2)]
)
def test_73_the_relative_error_is_clipped_to_a_fifth(kl: float, change: float) -> None:
    assert math.isclose(adapted_kl_coef(0.5, kl, target_nats=6.0, gain=0.1), 0.5 * (1 + 0.1 * change), rel_tol=1e-9)


def test_73_a_kl_that_falls_with_the_coefficient_is_led_to_the_target() -> None:
    controller = AdaptiveKL(0.01, target_nats=6.0, gain=1.0)
    for _ in range(60):
        controller.update(0.6 / controller.coef)
    assert math.isclose(controller.coef, 0.1, rel_tol=1e-3)


def test_73_an_update_hands_on_its_kl_and_uses_the_coefficient_from_before() -> None:
    config = msgspec.structs.replace(RLOO, kl_control="adaptive", kl_target_nats_per_sequence=0.01)
    state = new_state(config, moved=0.05)
    state.kl = kl_controller(config)
    used = []
    for _ in range(2):
        _, metrics = critic_free.critic_free_update(state, PROMPTS[:4], config, HOOKS)
        used.append(metrics.values["kl/coef"])
    assert used == [0.3, 0.3 * (1 + config.kl_gain_per_update * 0.2)]


def test_73_a_fixed_coefficient_never_moves_and_an_adaptive_one_may_not_start_at_0() -> None:
    fixed = kl_controller(PPOConfig(kl_coef=0.05))
    fixed.update(1e6)
    assert fixed.coef == 0.05
    with pytest.raises(ConfigError, match="kl_coef"):
        kl_controller(PPOConfig(kl_coef=0.0, kl_control="adaptive"))


def steps_of_an_update(limit: float) -> tuple[int, Any]:
    config = RLOOConfig(**ONLINE | {"update_kl_limit_nats_per_token": limit})
    state = new_state(config)
    _, metrics = critic_free.critic_free_update(state, PROMPTS[:4], config, HOOKS)
    return int(metrics.values["optimizer/steps_in_update"]), state.policy_optimizer


def test_an_update_ends_before_the_step_that_follows_too_much_kl() -> None:
    """The first minibatch has none; the others are never stepped on, but count for the learning rate."""
    (all_steps, whole), (few, ended) = steps_of_an_update(0.0), steps_of_an_update(1e-9)
    assert (all_steps, few) == (4, 1)
    assert (len(whole.gradients), len(ended.gradients)) == (4, 1)
    assert whole.steps_done == ended.steps_done == 4
    assert all(parameter.grad is None for parameter in ended.parameters)


def tables(rows: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of a policy and a reference, [rows, 5] each, in float64."""
    policy, reference = torch.randn(2, rows, 5, dtype=torch.float64).log_softmax(dim=-1)
    return policy, reference


def test_39_k3_is_never_negative_and_its_mean_over_the_policy_is_kl() -> None:
    policy, reference = tables()
    k3 = k3_token_kl(policy, reference, torch.ones(64, 5, dtype=torch.bool))
    assert bool((k3 >= 0.0).all())
    exact = (policy.exp() * (policy - reference)).sum(dim=-1)
    assert torch.allclose((policy.exp() * k3).sum(dim=-1), exact, rtol=1e-9)


def test_39_k3_varies_less_than_k1_near_the_reference() -> None:
    reference = torch.randn(64, 5, dtype=torch.float64).log_softmax(dim=-1)
    policy = (reference + 0.1 * torch.randn(64, 5, dtype=torch.float64)).log_softmax(dim=-1)
    mask = torch.ones(64, 5, dtype=torch.bool)

    def variance(estimate: torch.Tensor) -> torch.Tensor:
        mean = (policy.exp() * estimate).sum(dim=-1, keepdim=True)
        return (policy.exp() * (estimate - mean).square()).sum(dim=-1)

    assert bool((variance(k3_token_kl(policy, reference, mask)) < 0.1 * variance(policy - reference)).all())


def test_39_the_gradient_of_k3_under_samples_is_that_of_the_reverse_kl() -> None:
    """What `reference_kl_loss` says of itself: the value is KL(pi || ref), the descent is on KL(ref || pi)."""
    logits = torch.randn(5, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(5, dtype=torch.float64).log_softmax(dim=-1)
    policy, one = logits.log_softmax(dim=-1), torch.ones(1, 1, dtype=torch.bool)
    expected_loss = sum(
        policy[action].exp().detach() * reference_kl_loss(policy[action].view(1, 1), reference[action].view(1, 1), one)
        for action in range(5)
    )
    reverse = (reference.exp() * (reference - policy)).sum()
    (ours,) = torch.autograd.grad(expected_loss, logits, retain_graph=True)  # type: ignore[arg-type]
    (exact,) = torch.autograd.grad(reverse, logits)
    assert torch.allclose(ours, exact, atol=1e-12)
