"""Padding, its amount, its side and its content, and the company of other rows change nothing."""

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from decoding import TOKENS, rolled_out
from engine_models import ARCHITECTURES, random_rollout, small_model, word_tokenizer
from padding import (
    keep_padding,
    poisoned_experience,
    replace_everywhere,
    widened,
    widened_experience,
    widened_groups,
    with_junk,
)
from rlhf_engine import (
    logprobs,
    models,
    ppo,
    reward_modeling,
    scalar_models,
    sft,
    shared_prompts,
    trunk,
    update_metrics,
)
from rlhf_engine.config import Architecture
from rlhf_engine.data.batching import left_pad, right_pad
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.packing import Rows
from rlhf_engine.reward_modeling import RewardModelState
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_engine.sft import SFTState
from small_ppo import (
    CONFIG,
    CPU,
    HOOKS,
    PAD,
    WatchedOptimizer,
    assert_close_gradients,
    assert_equal_gradients,
    gradients_of,
    new_experience,
    new_policy,
    new_scalar_model,
    new_state,
)

Gradients = dict[str, Tensor | None]
GROUPS = [
    ComparisonGroup(Prompt("a", "", [5, 6, 7]), ["", "", ""], [[8, 0], [9, 10, 11, 0], [12, 0]], [(0, 1), (2, 0)]),
    ComparisonGroup(Prompt("b", "", [5] * 9), ["", ""], [[13, 14, 0], [15, 0]], [(1, 0)]),
]


def sft_step(batch: Rollout, architecture: Architecture = "llama") -> tuple[float, Gradients]:
    """Loss and gradients of one update."""
    policy = new_policy(architecture)
    optimizer = WatchedOptimizer(policy.named_parameters(), CONFIG.optimizer)
    metrics = sft.sft_update(SFTState(policy, optimizer), batch, micro_batch_size=2, compute="float32", hooks=HOOKS)
    return metrics.loss, optimizer.gradients[0]


def ppo_step(change: Callable[[Any], Any], architecture: Architecture = "llama") -> tuple[float, Gradients]:
    state = new_state(CONFIG, architecture)
    experience = change(new_experience(state))
    statistics = update_metrics.UpdateStatistics()
    loss = ppo.ppo_loss(state.models, experience, experience, CONFIG, statistics)
    loss.backward()
    return float(loss.detach()), gradients_of(state.models.policy, state.models.value_model)


def reward_model_step(architecture: Architecture = "llama") -> tuple[float, Gradients]:
    model = new_scalar_model(architecture)
    optimizer = WatchedOptimizer(model.named_parameters(), CONFIG.optimizer)
    metrics = reward_modeling.reward_model_update(
        RewardModelState(model, optimizer), GROUPS, micro_batch_size=2, compute="float32", hooks=HOOKS
    )
    return metrics.loss, optimizer.gradients[0]


def assert_close_steps(a: tuple[float, Gradients], b: tuple[float, Gradients]) -> None:
    assert abs(a[0] - b[0]) <= 1e-6
    assert_close_gradients(a[1], b[1], rtol=5e-6)


def assert_equal_steps(a: tuple[float, Gradients], b: tuple[float, Gradients]) -> None:
    assert a[0] == b[0]
    assert_equal_gradients(a[1], b[1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_28_padding_amount_changes_neither_loss_nor_gradient_of_sft(
    architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = sft_step(random_rollout(), architecture)
    keep_padding(monkeypatch)
    assert_close_steps(narrow, sft_step(widened(random_rollout()), architecture))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_28_padding_amount_changes_neither_loss_nor_gradient_of_ppo(architecture: Architecture) -> None:
    wide = ppo_step(widened_experience, architecture)
    assert_close_steps(ppo_step(lambda experience: experience, architecture), wide)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_28_padding_amount_changes_neither_loss_nor_gradient_of_the_reward_model(
    architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = reward_model_step(architecture)
    replace_everywhere(
        monkeypatch, shared_prompts, "shared_prompt_batch", lambda real: lambda *given: widened_groups(real(*given))
    )
    assert_close_steps(narrow, reward_model_step(architecture))


def test_28_padding_is_cut_before_a_forward() -> None:
    rows = random_rollout()
    again = widened(rows).trimmed()
    for field in dataclasses.fields(rows):
        assert torch.equal(getattr(again, field.name), getattr(rows, field.name))


@pytest.mark.parametrize("seed", [0, 1])
def test_29_padding_content_changes_no_bit_of_sft(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_padding(monkeypatch)
    rows = widened(random_rollout())
    assert_equal_steps(sft_step(rows), sft_step(with_junk(rows, seed)))


def test_29_padding_content_changes_no_bit_of_ppo() -> None:
    def spoilt(experience: Any) -> Any:
        return dataclasses.replace(experience, rollout=with_junk(experience.rollout))

    assert_equal_steps(ppo_step(lambda experience: experience), ppo_step(spoilt))
    assert_equal_steps(
        ppo_step(widened_experience), ppo_step(lambda e: poisoned_experience(spoilt(widened_experience(e)), torch.nan))
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_29_padding_content_changes_no_bit_of_any_output(architecture: Architecture) -> None:
    policy, scalar, rows = new_policy(architecture), new_scalar_model(architecture), widened(random_rollout())
    forwards: list[Callable[[Rollout], Tensor]] = [
        lambda given: logprobs.response_logprobs(policy, given),
        lambda given: logprobs.response_logprobs_and_entropies(policy, given)[1],
        lambda given: scalar_models.response_values(scalar, given),
        lambda given: scalar_models.response_scores(scalar, given),
    ]
    for forward in forwards:
        assert torch.equal(forward(rows), forward(with_junk(rows)))


def test_29_padding_content_changes_no_sampled_token(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = new_policy()
    clean = rolled_out(policy)

    def with_unknown_ids(real: Any) -> Any:
        def padded(sequences: Any, pad_id: int) -> Any:
            tokens, mask = real(sequences, pad_id)
            return tokens.masked_fill(~mask, 99_999), mask

        return padded

    monkeypatch.setattr("rlhf_engine.generation.left_pad", with_unknown_ids(left_pad))
    spoilt = rolled_out(policy)
    assert torch.equal(clean.response_tokens, spoilt.response_tokens)
    assert torch.equal(clean.response_mask, spoilt.response_mask)


def outputs_for_padding_on(side: Any, policy: Any, scalar: Any) -> tuple[Tensor, Tensor]:
    """Log-probabilities [N, V] and values [N] after every valid token of TOKENS."""
    tokens, mask = side(TOKENS, PAD)
    rows = Rows.of_sequences(tokens, mask)
    places = mask.flatten().nonzero().squeeze(1)
    states = trunk.states_at(policy, rows, places)
    logits = (states @ models.lm_head_weight(policy).to(states.dtype).T).float()
    return logits.log_softmax(dim=-1), scalar.head(trunk.states_at(scalar, rows, places))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_30_the_side_of_the_padding_changes_neither_logprobs_nor_scores(
    architecture: Architecture, attention: str
) -> None:
    """Learned positions or rotary; packed, or padded and masked."""
    roles = new_policy(architecture, attention=attention), new_scalar_model(architecture)
    alone = [
        outputs_for_padding_on(lambda *_, row=row: left_pad([row], PAD), *roles) for row in TOKENS
    ]  # fmt: skip
    for side in (left_pad, right_pad):
        for output, pieces in zip(outputs_for_padding_on(side, *roles), zip(*alone, strict=True), strict=True):
            assert float((output - torch.cat(pieces)).abs().max()) <= 1e-5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_30_more_padding_on_the_left_changes_neither_logprobs_nor_scores(architecture: Architecture) -> None:
    policy, scalar, rows = new_policy(architecture), new_scalar_model(architecture), random_rollout()
    for left in (1, 7):
        more = widened(rows, left=left, right=0)
        for forward, model in ((logprobs.response_logprobs, policy), (scalar_models.response_scores, scalar)):
            assert float((forward(model, more) - forward(model, rows)).abs().max()) <= 1e-5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_30_in_bf16_padding_changes_logprobs_and_scores_by_less_than_a_thousandth(architecture: Architecture) -> None:
    """On average, with weights of the spread that published models start from."""
    config = small_model(architecture)
    config = msgspec.structs.replace(config, init=msgspec.structs.replace(config.init, initializer_range=0.02))
    torch.manual_seed(3)
    policy, scalar = (load(config, word_tokenizer(), CPU) for load in (models.load_policy, load_scalar_model))
    rows = random_rollout()
    more = widened(rows, left=7, right=0)
    with models.compute_precision(CPU, "bfloat16"):
        for forward, model in ((logprobs.response_logprobs, policy), (scalar_models.response_scores, scalar)):
            assert float((forward(model, more) - forward(model, rows)).abs().mean()) < 1e-3
        sides = [outputs_for_padding_on(side, policy, scalar) for side in (left_pad, right_pad)]
    assert all(float((left - right).abs().mean()) < 1e-3 for left, right in zip(*sides, strict=True))
