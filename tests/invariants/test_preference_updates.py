"""29, 32, 41, 53 to 55 and 58 of DPO, IPO and KTO, through the update that their trainers call."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from engine_models import ARCHITECTURES, policy_of
from enumerable import (
    EOS,
    all_responses,
    bradley_terry_pairs,
    optimal_logprobs,
    sequence_logprobs,
    small_tokenizer,
    total_variation,
)
from rlhf_engine import preference_training, shared_prompts
from rlhf_engine.config import Architecture, DPOConfig, IPOConfig, KTOConfig, OptimizerConfig
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.errors import ConfigError
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.preference_training import PreferenceState, measured_reference_point, preference_update
from rlhf_engine.rollout import Rollout
from rlhf_engine.shared_prompts import SharedPromptBatch
from small_ppo import CPU, HOOKS, WatchedOptimizer, assert_close_gradients, frozen_copy, new_policy, weight_hash

Config = DPOConfig | IPOConfig | KTOConfig
LR = OptimizerConfig(lr=1e-3, schedule="constant")
DPO = DPOConfig(optimizer=LR, micro_batch_size=2)
IPO = IPOConfig(optimizer=LR, micro_batch_size=2)
KTO = KTOConfig(optimizer=LR, micro_batch_size=2)
LOSSES: list[Config] = [
    DPO, msgspec.structs.replace(DPO, label_smoothing=0.2), IPO, msgspec.structs.replace(IPO, ipo_reduction="mean"), KTO
]  # fmt: skip


def group(prompt: list[int], responses: list[list[int]], pairs: list[tuple[int, int]]) -> ComparisonGroup:
    return ComparisonGroup(Prompt("", "", prompt), [""] * len(responses), responses, pairs)


GROUPS = [
    group([3, 4, 5, 6, 7], [[8, 9, 0], [10, 0], [11, 12, 13, 14, 15]], [(0, 1), (0, 2), (2, 1)]),
    group([16], [[17, 18, 19, 0], [0]], [(1, 0)]),
    group([20, 21], [[22, 0], [23, 24, 0]], [(0, 1)]),
    group([3, 25, 26], [[27], [8, 28, 29, 30, 0]], [(0, 1)]),
]
"""One to five tokens, one to three pairs, with and without EOS."""


def new_state(config: Config, architecture: Architecture = "llama", *, moved: float = 0.0) -> PreferenceState:
    """The policy is the reference, or `moved` away from it."""
    policy = new_policy(architecture)
    reference = frozen_copy(policy)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(moved * torch.randn_like(parameter))
    return PreferenceState(policy, reference, WatchedOptimizer(policy.named_parameters(), config.optimizer))


def updated(config: Config, *, moved: float = 0.05) -> tuple[Any, dict[str, Tensor | None]]:
    """The metrics of an update and the gradient of its step."""
    torch.manual_seed(0)
    state = new_state(config, moved=moved)
    metrics = preference_update(state, GROUPS, config, HOOKS)
    watched: Any = state.optimizer
    return metrics, watched.gradients[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("config", LOSSES)
def test_53_54_55_before_the_first_step_all_margins_are_0(config: Config, architecture: Architecture) -> None:
    metrics = preference_update(new_state(config, architecture), GROUPS, config, HOOKS)
    expected = {DPOConfig: math.log(2), IPOConfig: 25.0, KTOConfig: 0.5}[type(config)]
    assert math.isclose(metrics.loss, expected, rel_tol=1e-6)
    assert (metrics.margin_max, metrics.accuracy, metrics.reference_point) == (0.0, 0.5, 0.0)
    assert metrics.pairs == 6


@pytest.mark.parametrize("config", LOSSES)
def test_only_the_policy_learns(config: Config) -> None:
    state = new_state(config)
    before = weight_hash(state.policy), weight_hash(state.ref_policy)
    preference_update(state, GROUPS, config, HOOKS)
    assert weight_hash(state.policy) != before[0]
    assert weight_hash(state.ref_policy) == before[1]


@pytest.mark.parametrize("config", LOSSES)
@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_41_micro_batches_of_any_size_give_one_gradient(micro_batch_size: int, config: Config) -> None:
    whole, cut = (
        updated(msgspec.structs.replace(config, micro_batch_size=size)) for size in (len(GROUPS), micro_batch_size)
    )
    assert_close_gradients(whole[1], cut[1], rtol=1e-4)
    assert math.isclose(whole[0].loss, cut[0].loss, rel_tol=1e-5)


@pytest.mark.parametrize("config", LOSSES)
def test_29_what_stands_in_padding_changes_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = updated(config)
    packed = shared_prompts.shared_prompt_batch

    def with_random_padding(groups: list[ComparisonGroup], device: torch.device) -> SharedPromptBatch:
        batch = packed(groups, device)
        noise = torch.randint_like(batch.rows.tokens, 3, 33)
        return replace(batch, rows=replace(batch.rows, tokens=torch.where(batch.rows.mask, batch.rows.tokens, noise)))

    monkeypatch.setattr(preference_training, "shared_prompt_batch", with_random_padding)
    assert_equal(updated(config), plain)


@pytest.mark.parametrize("config", LOSSES)
def test_32_nan_in_masked_places_reaches_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = updated(config)
    clean = shared_prompts.group_logprobs

    def poisoned(policy: Any, batch: SharedPromptBatch) -> Tensor:
        assert not bool(batch.response_mask.all())
        return clean(policy, batch).masked_fill(~batch.response_mask, math.nan)

    monkeypatch.setattr(preference_training, "group_logprobs", poisoned)
    assert_equal(updated(config), plain)


def assert_equal(a: tuple[Any, dict[str, Tensor | None]], b: tuple[Any, dict[str, Tensor | None]]) -> None:
    """Metrics and gradients, bit for bit."""
    assert a[0] == b[0]
    for name, left in a[1].items():
        right = b[1][name]
        assert left is not None and right is not None and torch.equal(left, right), name


def alone(policy: Any, prompt: list[int], response: list[int]) -> float:
    """log pi(response | prompt), without company."""
    rows = Rollout.of_texts([prompt], [response], eos_id=0, pad_id=1, device=CPU)
    return float(response_logprobs(policy, rows).sum().detach())


def test_55_the_reference_point_is_that_of_responses_to_the_next_prompt() -> None:
    state = new_state(KTO, moved=0.1)
    prompts = [item.prompt.tokens for item in [*GROUPS[1:], GROUPS[0]]]
    ratios = [
        alone(state.policy, prompt, response) - alone(state.ref_policy, prompt, response)
        for prompt, item in zip(prompts, GROUPS, strict=True)
        for response in item.response_tokens
    ]
    expected = sum(ratios) / len(ratios)
    assert expected > 0.0
    for size in (1, 2, 4):
        config = msgspec.structs.replace(KTO, micro_batch_size=size)
        z0 = measured_reference_point(state, GROUPS, config, HOOKS)
        assert abs(float(z0) - expected) < 1e-4
        assert not z0.requires_grad


def test_55_one_group_has_no_other_prompt() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        preference_update(new_state(KTO), GROUPS[:1], KTO, HOOKS)


def test_58_dpo_updates_recover_the_optimum_of_rlhf() -> None:
    """A Llama, all of whose responses are compared as often as Bradley-Terry says, ends at pi_ref exp(r / beta)."""
    torch.manual_seed(0)
    policy = policy_of(small_tokenizer(1))
    responses, strengths, beta = all_responses(3, 2), [1, 2, 3, 3, 1, 2, 1], 1.0
    reference = sequence_logprobs(policy, responses).detach()
    tokens = [row[mask].tolist() for row, mask in zip(responses.response_tokens, responses.response_mask, strict=True)]
    pairs = [(int(i), int(j)) for i, j in bradley_terry_pairs(strengths)]
    config = DPOConfig(beta=beta, optimizer=OptimizerConfig(lr=3e-3, schedule="cosine"))
    optimizer = WatchedOptimizer(policy.named_parameters(), config.optimizer, steps=150)
    state = PreferenceState(policy, frozen_copy(policy), optimizer)
    for _ in range(150):
        preference_update(state, [group([EOS], tokens, pairs)], config, HOOKS)
    optimum = optimal_logprobs(reference, torch.tensor(strengths).log(), beta)
    found = sequence_logprobs(policy, responses).detach()
    assert total_variation(reference, optimum) > 0.1
    assert total_variation(found, optimum) < 0.02
