"""How rows are cut into micro-batches, and what the backward pass computes again, changes no gradient."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from engine_models import ARCHITECTURES, random_rollout, word_tokenizer
from rlhf_engine import critic_free, models, ppo, reward_modeling, sft
from rlhf_engine.config import Architecture, GRPOConfig, ModelConfig, RLOOConfig
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.models import save_model
from rlhf_engine.reward_modeling import RewardModelState
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_engine.sft import SFTState
from small_ppo import (
    CONFIG,
    CPU,
    EOS,
    HOOKS,
    PAD,
    PROMPTS,
    WatchedOptimizer,
    assert_close_gradients,
    config_with,
    frozen_copy,
    gradients_of,
    new_policy,
    new_scalar_model,
    new_state,
    step_gradients,
)

Gradients = dict[str, Tensor | None]
Step = tuple[dict[str, float], list[Gradients]]
"""Metrics and gradients of one update."""
ROWS = 6
GROUPS = [
    ComparisonGroup(
        Prompt(str(i), "", list(range(3, 4 + 2 * i))),
        [""] * (2 + i % 3),
        [[*range(5 + k, 6 + k + (3 * i + 2 * k) % 7), EOS] for k in range(2 + i % 3)],
        [(0, 1), (1, i % 3)] if i % 3 > 1 else [(1, 0)],
    )
    for i in range(ROWS)
]
"""Prompts of 1 to 11 tokens with 2 to 4 responses of 2 to 8, and one or two pairs each."""


def sft_step(policy: Any, micro_batch_size: int) -> Step:
    optimizer = WatchedOptimizer(policy.named_parameters(), CONFIG.optimizer)
    metrics = sft.sft_update(
        SFTState(policy, optimizer), random_rollout(ROWS), micro_batch_size=micro_batch_size, compute="float32",
        hooks=HOOKS,
    )  # fmt: skip
    return dataclasses.asdict(metrics), optimizer.gradients


def reward_model_step(model: Any, micro_batch_size: int) -> Step:
    optimizer = WatchedOptimizer(model.named_parameters(), CONFIG.optimizer)
    metrics = reward_modeling.reward_model_update(
        RewardModelState(model, optimizer), GROUPS, micro_batch_size=micro_batch_size, compute="float32", hooks=HOOKS
    )
    return dataclasses.asdict(metrics), optimizer.gradients


def ppo_step(policy: Any, value_model: Any, micro_batch_size: int, architecture: Architecture) -> Step:
    config = config_with(ppo_epochs=1, minibatches=1, micro_batch_size=micro_batch_size)
    state = new_state(config, architecture)
    state.models.policy, state.models.value_model = policy, value_model
    state.policy_optimizer = WatchedOptimizer(policy.named_parameters(), config.optimizer)
    state.value_optimizer = WatchedOptimizer(value_model.named_parameters(), config.optimizer)
    _, metrics = ppo.ppo_update(state, PROMPTS, config, HOOKS)
    return metrics.values, step_gradients(state)


def assert_close_steps(whole: Step, pieces: Step) -> None:
    assert pieces[0] == pytest.approx(whole[0], rel=1e-5, abs=2e-6)
    assert len(whole[1]) == len(pieces[1]) > 0
    for a, b in zip(whole[1], pieces[1], strict=True):
        assert_close_gradients(a, b, rtol=1e-5)


SIZES = [1, 2, 3, 4]
"""Of micro-batches; 4 leaves a smaller last one."""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_41_micro_batches_add_up_to_the_batch_in_sft(architecture: Architecture) -> None:
    whole = sft_step(new_policy(architecture), ROWS)
    for size in SIZES:
        assert_close_steps(whole, sft_step(new_policy(architecture), size))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_41_micro_batches_add_up_to_the_batch_in_reward_modeling(architecture: Architecture) -> None:
    whole = reward_model_step(new_scalar_model(architecture), ROWS)
    for size in SIZES:
        assert_close_steps(whole, reward_model_step(new_scalar_model(architecture), size))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_41_micro_batches_add_up_to_the_batch_in_ppo(architecture: Architecture) -> None:
    whole, *pieces = (
        ppo_step(new_policy(architecture), new_scalar_model(architecture), size, architecture) for size in (8, 1, 3)
    )
    for step in pieces:
        assert_close_steps(whole, step)


ONLINE: dict[str, Any] = {
    "total_episodes": 32, "batch_size": 8, "samples_per_prompt": 2, "response_tokens": 6, "optimizer": CONFIG.optimizer,
}  # fmt: skip


@pytest.mark.parametrize("kind", [RLOOConfig, GRPOConfig])
def test_41_micro_batches_add_up_to_the_batch_without_a_critic(kind: Any) -> None:
    def step(size: int) -> Step:
        policy, config = new_policy(), kind(micro_batch_size=size, **ONLINE)
        roles = CriticFreeModels(policy, frozen_copy(policy), frozen_copy(new_scalar_model()))
        optimizer = WatchedOptimizer(policy.named_parameters(), config.optimizer)
        state = CriticFreeState(roles, optimizer, FixedKL(0.05), eos_id=EOS, pad_id=PAD)
        _, metrics = critic_free.critic_free_update(state, PROMPTS[:4], config, HOOKS)
        return metrics.values, optimizer.gradients

    whole = step(8)
    for size in (1, 3):
        assert_close_steps(whole, step(size))


def test_41_the_gradient_is_clipped_once_a_step() -> None:
    """What each step is given is the whole minibatch's gradient, before any clipping."""
    steps = []
    for size in (8, 2):
        optimizer = msgspec.structs.replace(CONFIG.optimizer, max_grad_norm=0.01)
        config = config_with(ppo_epochs=1, minibatches=1, micro_batch_size=size, optimizer=optimizer)
        state = new_state(config)
        ppo.ppo_update(state, PROMPTS, config, HOOKS)
        steps.append(step_gradients(state))
    for whole, pieces in zip(*steps, strict=True):
        assert_close_gradients(whole, pieces, rtol=1e-5)


def test_41_every_step_starts_without_a_gradient() -> None:
    state = new_state()
    ppo.ppo_update(state, PROMPTS, CONFIG, HOOKS)
    learned = gradients_of(state.models.policy, state.models.value_model)
    assert all(gradient is None for gradient in learned.values())


def test_41_longer_rows_weigh_by_their_tokens() -> None:
    """The mean over all tokens, not the mean over micro-batches of their means: unequal lengths tell them apart."""
    rows = random_rollout(ROWS)
    metrics, _ = sft_step(new_policy(), 1)
    policy = new_policy()
    single = [[rows.rows(torch.tensor([row]))] for row in range(ROWS)]
    alone = [sft.held_out_loss(policy, batches, compute="float32", hooks=HOOKS) for batches in single]
    lengths = rows.response_lengths.tolist()
    by_token = sum(loss * length for loss, length in zip(alone, lengths, strict=True)) / sum(lengths)
    assert metrics["loss"] == pytest.approx(by_token, rel=1e-5)
    assert abs(by_token - sum(alone) / ROWS) > 1e-2


@contextmanager
def counted_forwards() -> Iterator[Counter[str]]:
    """How often each kind of module was entered, again in the backward pass included."""
    calls: Counter[str] = Counter()

    def count(module: torch.nn.Module, _: Any) -> None:
        calls[type(module).__name__] += 1

    hook = torch.nn.modules.module.register_module_forward_pre_hook(count)
    yield calls
    hook.remove()


INSIDE_A_BLOCK: dict[Architecture, str] = {"llama": "LlamaRMSNorm", "gpt_neox": "LayerNorm", "gpt2": "LayerNorm"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_42_gradient_checkpointing_changes_no_gradient(architecture: Architecture, tmp_path: Path) -> None:
    """Of SFT, the reward model and PPO; and it does run every block again."""
    save_model(new_policy(architecture), word_tokenizer(), tmp_path / "policy")
    save_model(new_scalar_model(architecture), word_tokenizer(), tmp_path / "scalar")

    def steps(switch: bool) -> tuple[list[Step], int]:
        def policy() -> Any:
            config = ModelConfig(path=str(tmp_path / "policy"), gradient_checkpointing=switch)
            return models.load_policy(config, word_tokenizer(), CPU)

        def scalar() -> Any:
            config = ModelConfig(path=str(tmp_path / "scalar"), gradient_checkpointing=switch)
            return load_scalar_model(config, word_tokenizer(), CPU)

        with counted_forwards() as calls:
            done = [
                sft_step(policy(), 3),
                reward_model_step(scalar(), 3),
                ppo_step(policy(), scalar(), 3, architecture),
            ]
        return done, calls[INSIDE_A_BLOCK[architecture]]

    (plain, plain_calls), (checkpointed, checkpointed_calls) = steps(False), steps(True)
    assert checkpointed_calls > plain_calls
    for a, b in zip(plain, checkpointed, strict=True):
        assert b[0] == pytest.approx(a[0], rel=1e-6, abs=1e-6)
        for ours, theirs in zip(a[1], b[1], strict=True):
            assert_close_gradients(ours, theirs, rtol=1e-6)
