"""One update and what must hold in it, on tiny models."""

import copy
import math
from typing import Any

import msgspec
import pytest
import torch

from engine_models import policy_of, scalar_model_of
from rlhf_engine.config import OptimizerConfig, PPOConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.errors import NonFiniteError
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.losses import clipped_policy_loss
from rlhf_engine.optim import ScheduledAdamW, lr_share
from rlhf_engine.ppo import PPOModels, PPOState, ppo_update
from rlhf_engine.update_metrics import explained_variance

HOOKS = NoHooks()
CONFIG = PPOConfig(
    total_episodes=16, batch_size=8, minibatches=2, ppo_epochs=2, micro_batch_size=4, rollout_batch_size=8,
    response_tokens=6, temperature=0.7, optimizer=OptimizerConfig(lr=1e-3, schedule="constant"),
)  # fmt: skip
PROMPTS = [Prompt(str(i), "", [3 + i, 4 + i, 5 + i][: 1 + i % 3]) for i in range(8)]


def new_state(tokenizer: Any, config: PPOConfig = CONFIG) -> PPOState:
    policy = policy_of(tokenizer)
    value_model = scalar_model_of(tokenizer)
    models = PPOModels(
        policy,
        copy.deepcopy(policy).eval().requires_grad_(False),
        value_model,
        copy.deepcopy(value_model).eval().requires_grad_(False),
    )
    optimizers = [ScheduledAdamW(m.named_parameters(), config.optimizer, 8) for m in (policy, value_model)]
    return PPOState(models, optimizers[0], optimizers[1], FixedKL(config.kl_coef), eos_id=0, pad_id=1)


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_same_seed_gives_the_same_update_and_another_does_not(tokenizer: Any) -> None:
    def run(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(0)
        state = new_state(tokenizer)
        ppo_update(state, PROMPTS, msgspec.structs.replace(CONFIG, seed=seed), HOOKS)
        return weights(state.models.policy)

    assert same(run(1), run(1))
    assert not same(run(1), run(2))


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = new_state(tokenizer)
    before = weights(state.models.policy)

    def diverged(*arguments: Any, **settings: Any) -> torch.Tensor:
        return clipped_policy_loss(*arguments, **settings) * math.nan

    monkeypatch.setattr("rlhf_engine.ppo.clipped_policy_loss", diverged)
    with pytest.raises(NonFiniteError, match="no weight was changed"):
        ppo_update(state, PROMPTS, CONFIG, HOOKS)
    assert same(before, weights(state.models.policy))


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = ScheduledAdamW([("w", weight)], OptimizerConfig(lr=0.1), 10)
    weight.grad = torch.tensor([1.0, math.inf])
    with pytest.raises(NonFiniteError, match="gradient norm"):
        optimizer.step()
    assert weight.tolist() == [1.0, 1.0]


def test_the_optimizer_receives_what_the_config_says_and_clips() -> None:
    config = OptimizerConfig(
        lr=0.5, eps=1e-5, betas=(0.8, 0.99), weight_decay=0.1, max_grad_norm=1.0, schedule="linear"
    )
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = ScheduledAdamW([("w", weight)], config, 10)
    group = optimizer.adamw.param_groups[0]
    assert (group["eps"], group["betas"], group["weight_decay"]) == (1e-5, (0.8, 0.99), 0.1)
    weight.grad = torch.tensor([3.0])
    assert optimizer.step() == 3.0
    assert math.isclose(float(weight), -0.5, rel_tol=1e-4)
    assert math.isclose(optimizer.lr, 0.45)


def test_the_learning_rate_has_a_closed_form() -> None:
    def share(step: int, schedule: Any, final: float = 0.1, warmup: float = 0.0) -> float:
        return lr_share(step, 100, schedule=schedule, final_share=final, warmup_share=warmup)

    assert share(50, "constant") == 1.0
    assert math.isclose(share(50, "linear"), 0.55)
    assert math.isclose(share(50, "cosine"), 0.55)
    assert math.isclose(share(25, "cosine", final=0.0), 0.5 * (1 + math.sqrt(0.5)))
    assert [share(s, "linear", warmup=0.04) for s in (0, 1, 3)] == [0.25, 0.5, 1.0]


def test_optimizer_state_returns_bit_for_bit() -> None:
    def steps(optimizer: ScheduledAdamW, weight: torch.nn.Parameter, count: int) -> None:
        for i in range(count):
            weight.grad = torch.full_like(weight, float(i + 1))
            optimizer.step()

    config = OptimizerConfig(lr=0.1, schedule="linear")
    straight = torch.nn.Parameter(torch.ones(3))
    first = ScheduledAdamW([("w", straight)], config, 20)
    steps(first, straight, 3)
    copied = torch.nn.Parameter(straight.detach().clone())
    second = ScheduledAdamW([("w", copied)], config, 20)
    second.load_state_tensors({name: t.clone() for name, t in first.state_tensors().items()}, first.steps_done)
    steps(first, straight, 2)
    steps(second, copied, 2)
    assert torch.equal(straight, copied)


def test_explained_variance_is_1_for_a_perfect_critic_and_0_for_a_constant_one() -> None:
    returns = torch.tensor([[1.0, 2.0, math.nan]])
    mask = torch.tensor([[True, True, False]])
    assert float(explained_variance(returns, returns, mask)) == 1.0
    assert float(explained_variance(torch.full((1, 3), 7.0), returns, mask)) == 0.0
