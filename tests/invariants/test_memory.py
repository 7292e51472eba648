"""68: an update leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch._subclasses import FakeTensorMode

from benchmarks.memory_meter import live_bytes
from engine_models import policy_of, random_rollout, scalar_model_of, word_tokenizer
from rlhf_engine import critic_free, ppo
from rlhf_engine.config import DPOConfig, OptimizerConfig, RLOOConfig
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.preference_training import PreferenceState, preference_update
from rlhf_engine.reward_modeling import RewardModelState, reward_model_update
from rlhf_engine.sft import SFTState, sft_update
from small_ppo import EOS, PAD, PROMPTS, config_with, frozen_copy, new_policy, new_scalar_model, new_state

HOOKS = NoHooks()
OPTIMIZER = OptimizerConfig(lr=1e-3, schedule="constant")
GROUPS = [
    ComparisonGroup(Prompt("a", "", [5, 6, 7]), ["", "", ""], [[8, 0], [9, 10, 11, 0], [12, 0]], [(0, 1), (2, 0)]),
    ComparisonGroup(Prompt("b", "", [5] * 9), ["", ""], [[13, 14, 0], [15, 0]], [(1, 0)]),
]

Update = Callable[[], object]


def ppo_updates() -> Update:
    config = config_with(ppo_epochs=1)
    state = new_state(config)
    models = state.models
    state.policy_optimizer = ScheduledAdamW(models.policy.named_parameters(), OPTIMIZER, 9)
    state.value_optimizer = ScheduledAdamW(models.value_model.named_parameters(), OPTIMIZER, 9)
    return lambda: ppo.ppo_update(state, PROMPTS, config, HOOKS)[1]


def rloo_updates() -> Update:
    config = RLOOConfig(batch_size=8, micro_batch_size=3, response_tokens=5, samples_per_prompt=2, optimizer=OPTIMIZER)
    policy = new_policy()
    models = CriticFreeModels(policy, frozen_copy(policy), frozen_copy(new_scalar_model()))
    optimizer = ScheduledAdamW(policy.named_parameters(), OPTIMIZER, 9)
    state = CriticFreeState(models, optimizer, FixedKL(0.05), eos_id=EOS, pad_id=PAD)
    return lambda: critic_free.critic_free_update(state, PROMPTS[:4], config, HOOKS)[1]


def sft_updates() -> Update:
    policy, rollout = policy_of(word_tokenizer()), random_rollout()
    state = SFTState(policy, ScheduledAdamW(policy.named_parameters(), OPTIMIZER, 9))
    return lambda: sft_update(state, rollout, micro_batch_size=2, compute="float32", hooks=HOOKS)


def reward_model_updates() -> Update:
    reward_model = scalar_model_of(word_tokenizer())
    state = RewardModelState(reward_model, ScheduledAdamW(reward_model.named_parameters(), OPTIMIZER, 9))
    return lambda: reward_model_update(state, GROUPS, micro_batch_size=1, compute="float32", hooks=HOOKS)


def preference_updates() -> Update:
    policy = policy_of(word_tokenizer())
    optimizer = ScheduledAdamW(policy.named_parameters(), OPTIMIZER, 9)
    state = PreferenceState(policy, frozen_copy(policy), optimizer)
    return lambda: preference_update(state, GROUPS, DPOConfig(micro_batch_size=1), HOOKS)


@pytest.mark.parametrize(
    "updates",
    [ppo_updates, rloo_updates, sft_updates, reward_model_updates, preference_updates],
    ids=lambda f: f.__name__,
)
def test_68_an_update_leaves_nothing_behind(updates: Callable[[], Update]) -> None:
    """The first one makes Adam's moments; from then on not a byte more."""
    update = updates()
    update()
    before = live_bytes()
    for _ in range(3):
        update()
        assert live_bytes() == before


def test_68_what_is_kept_is_seen() -> None:
    """The measurement itself: a tensor that somebody holds on to counts with its size; one without memory does not."""
    before = live_bytes()
    kept = [torch.zeros(1000)]
    with FakeTensorMode():
        kept.append(torch.zeros(1000))
    assert live_bytes() == before + 4 * len(kept[0])
