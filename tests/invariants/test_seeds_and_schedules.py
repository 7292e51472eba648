"""45 and 46: what a seed decides, the learning rate of every step, and what a step does with it."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler

from rlhf_engine import collecting, ppo
from rlhf_engine.config import OptimizerConfig
from rlhf_engine.optim import ScheduledAdamW
from small_ppo import HOOKS, PROMPTS, config_with, new_state, weight_hash

PEAK, STEPS = 0.3, 12


def trained(seed: int) -> list[str]:
    """Hashes of policy and critic after two updates."""
    config = config_with(seed=seed)
    state = new_state(config)
    for _ in range(2):
        ppo.ppo_update(state, PROMPTS, config, HOOKS)
    return [weight_hash(state.models.policy), weight_hash(state.models.value_model)]


def test_45_the_same_seed_is_the_same_run_and_another_is_not() -> None:
    first, again, other = trained(1), trained(1), trained(2)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_45_every_update_samples_with_noise_of_its_own() -> None:
    """The same policy answers the same prompts otherwise, and again alike."""
    state, config = new_state(), config_with()

    def responses(updates_done: int) -> list[list[int]]:
        state.updates_done = updates_done
        return collecting.roll_out(state, PROMPTS, config, HOOKS).response_tokens.tolist()

    first, second, again = responses(0), responses(1), responses(0)
    assert first == again
    assert sum(a != b for a, b in zip(first, second, strict=True)) > len(PROMPTS) // 2


def scheduled(schedule: Literal["constant", "linear", "cosine"], **changes: Any) -> ScheduledAdamW:
    config = OptimizerConfig(lr=PEAK, schedule=schedule, **changes)
    return ScheduledAdamW([("w", torch.nn.Parameter(torch.ones(2)))], config, STEPS)


def rates(optimizer: ScheduledAdamW, steps: int) -> list[float]:
    """What AdamW really used at each of the coming steps."""
    used = []
    for _ in range(steps):
        optimizer.parameters[0].grad = torch.ones(2)
        optimizer.step()
        used.append(optimizer.adamw.param_groups[0]["lr"])
    return used


def rates_of_torch(schedule: str, final_share: float) -> list[float]:
    adam = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=PEAK)
    scheduler: LRScheduler = (
        LinearLR(adam, start_factor=1.0, end_factor=final_share, total_iters=STEPS)
        if schedule == "linear"
        else CosineAnnealingLR(adam, STEPS, eta_min=final_share * PEAK)
    )
    used = []
    for _ in range(STEPS):
        used.append(adam.param_groups[0]["lr"])
        adam.step()
        scheduler.step()
    return used


@pytest.mark.parametrize("final_share", [0.0, 0.1])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_46_learning_rates_are_those_of_torchs_schedulers(
    schedule: Literal["linear", "cosine"], final_share: float
) -> None:
    expected = rates_of_torch(schedule, final_share)
    assert rates(scheduled(schedule, final_lr_share=final_share), STEPS) == pytest.approx(expected, rel=1e-12)


def test_46_warm_up_rises_in_equal_steps_to_the_peak() -> None:
    warmed = rates(scheduled("constant", warmup_share=0.25), STEPS)
    assert warmed == pytest.approx([PEAK / 3, 2 * PEAK / 3] + [PEAK] * (STEPS - 2), rel=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_46_a_resumed_run_goes_on_with_the_learning_rate_of_its_step(
    schedule: Literal["constant", "linear", "cosine"],
) -> None:
    settings = {"warmup_share": 0.25, "final_lr_share": 0.1}
    straight, first, second = (scheduled(schedule, **settings) for _ in range(3))
    whole, before = rates(straight, STEPS), rates(first, 5)
    second.load_state_tensors(first.state_tensors(), first.steps_done)
    assert before + rates(second, STEPS - 5) == whole


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("eps", [1e-8, 1e-5, 0.5])
def test_46_a_step_is_adams_with_the_configs_eps_betas_and_weight_decay(eps: float, weight_decay: float) -> None:
    """Kingma and Ba 2015, algorithm 1, decay after Loshchilov and Hutter 2019; gradients as small as the smaller eps.

    By hand for two steps: the moments' bias is gone after the first, and the second weighs both gradients.
    """
    weight, first, second, (beta1, beta2) = 2.0, 3e-5, -1e-5, (0.8, 0.95)
    config = OptimizerConfig(lr=PEAK, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, schedule="constant")
    parameter = torch.nn.Parameter(torch.tensor([weight], dtype=torch.float64))
    optimizer = ScheduledAdamW([("w", parameter)], config, STEPS)
    mean = (beta1 * first + second) / (1 + beta1)
    root = ((beta2 * first**2 + second**2) / (1 + beta2)) ** 0.5
    kept = 1 - PEAK * weight_decay
    after_first = kept * weight - PEAK * first / (first + eps)
    for gradient, expected in ((first, after_first), (second, kept * after_first - PEAK * mean / (root + eps))):
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        assert float(parameter) == pytest.approx(expected, rel=1e-12)
