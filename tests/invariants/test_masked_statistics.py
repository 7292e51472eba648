"""Means, variances and whitening over valid places are those of the packed values, and defined where there are none."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlhf_engine import losses, masking, ppo, preference_losses, reward_modeling, rewards, sft, update_metrics
from rlhf_engine.rollout import Rollout
from small_ppo import CPU, EOS, HOOKS, PAD, PROMPTS, config_with, new_experience, new_policy, new_state

EMPTY = torch.zeros(2, 3, dtype=torch.bool)
ONE = torch.tensor([[False, False, False], [True, False, False]])


def random_values(seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """fp64 [6, 7] with a mean of about 3, and a mask of unequal lengths, one of them 0."""
    generator = torch.Generator().manual_seed(seed)
    values = (3.0 + torch.randn(6, 7, generator=generator, dtype=torch.float64)) * scale
    lengths = torch.tensor([7, 0, 3, 1, 5, 2])[torch.randperm(6, generator=generator)]
    return values, torch.arange(7) < lengths[:, None]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 100.0))
def test_27_moments_are_those_of_the_packed_values(seed: int, scale: float) -> None:
    """The variance is the biased one: the sum of squares is divided by the number of valid values."""
    values, mask = random_values(seed, scale)
    packed, padded = values[mask], values.masked_fill(~mask, math.nan)
    assert abs(float(masking.masked_mean(padded, mask) - packed.mean())) <= 1e-6
    assert math.isclose(float(masking.masked_var(padded, mask)), float(packed.var(correction=0)), rel_tol=1e-9)
    everything = torch.ones_like(packed, dtype=torch.bool)
    for function in (masking.whiten, masking.whiten_keeping_mean):
        assert float((function(padded, mask)[mask] - function(packed, everything)).abs().max()) <= 1e-6
        assert bool((function(padded, mask)[~mask] == 0.0).all())


def test_27_biased_variance_by_hand() -> None:
    values = torch.tensor([[1.0, 2.0, math.nan], [6.0, math.inf, math.nan]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert float(masking.masked_mean(values, mask)) == 3.0
    assert math.isclose(float(masking.masked_var(values, mask)), 14 / 3, rel_tol=1e-6)


X, Y, Z = (torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
NOTHING: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda x: masking.masked_mean(x, EMPTY),
    "variance": lambda x: masking.masked_var(x, EMPTY),
    "whiten": lambda x: masking.whiten(x, EMPTY).abs().max(),
    "whiten keeping mean": lambda x: masking.whiten_keeping_mean(x, EMPTY).abs().max(),
    "next-token loss": lambda x: losses.next_token_loss(x, EMPTY),
    "policy loss": lambda x: losses.clipped_policy_loss(x, Y, Z, EMPTY, clip_range=0.2),
    "value loss": lambda x: losses.clipped_value_loss(x, Y, Z, EMPTY, value_clip_range=0.2),
    "KL loss": lambda x: losses.reference_kl_loss(x, Y, EMPTY),
    "sequence KL": lambda x: rewards.sequence_kl(x, Y, EMPTY).abs().max(),
    "pairwise loss": lambda x: losses.pairwise_loss(x[:, :0].flatten(), Y[:, :0].flatten()),
    "log-ratios": lambda x: preference_losses.sequence_logratios(x, Y, EMPTY, reduction="mean").abs().max(),
}


@pytest.mark.parametrize("name", NOTHING)
def test_33_nothing_valid_gives_0_and_no_gradient(name: str) -> None:
    values = X.clone().requires_grad_()
    result = NOTHING[name](values)
    assert float(result.detach()) == 0.0
    (gradient,) = torch.autograd.grad(result, values, allow_unused=True)
    assert gradient is None or bool((gradient == 0.0).all())


def test_33_one_valid_value_is_its_own_mean_and_whitens_to_0() -> None:
    assert float(masking.masked_mean(X, ONE)) == float(X[1, 0])
    assert float(masking.masked_var(X, ONE)) == 0.0
    assert torch.equal(masking.whiten(X, ONE), torch.zeros(2, 3))
    kept = masking.whiten_keeping_mean(X, ONE)
    assert torch.equal(kept, torch.where(ONE, X, 0.0))


@pytest.mark.parametrize("constant", [0.0, -1.0, 0.1, 1e4, -3.3e6])
def test_33_constant_rewards_whiten_to_0_or_stay(constant: float) -> None:
    """Whatever their size: the rounding error of a mean is no signal."""
    values, mask = torch.full((6, 7), constant), random_values(0)[1]
    assert torch.equal(masking.whiten(values, mask), torch.zeros(6, 7))
    assert torch.allclose(masking.whiten_keeping_mean(values, mask)[mask], values[mask], rtol=1e-6, atol=0.0)
    assert float(update_metrics.explained_variance(torch.randn(6, 7), values, mask)) == 0.0


def test_33_an_update_with_one_constant_score_is_finite() -> None:
    """All responses score alike and everything is whitened: what is left to learn is the error of the critic."""
    config = config_with(whiten_rewards=True, missing_eos_value=0.5)
    state = new_state(config)
    state.models.reward_model.set_affine(0.0, 0.5)
    experience, metrics = ppo.ppo_update(state, PROMPTS, config, HOOKS)
    assert bool((experience.scores == 0.5).all())
    assert metrics.values["reward/score_std"] == 0.0
    assert all(math.isfinite(value) for value in metrics.values.values())


@torch.no_grad()
def test_33_empty_responses_have_no_loss_and_no_reward() -> None:
    rows = Rollout.of_texts([[5, 6], [7]], [[], []], eos_id=EOS, pad_id=PAD, device=CPU)
    assert rows.response_lengths.tolist() == [0, 0]
    assert sft.held_out_loss(new_policy(), [rows], compute="float32", hooks=HOOKS) == 0.0
    mixed = torch.tensor([[False, False, False], [True, True, False]])
    given_rewards = rewards.kl_penalized_rewards(torch.tensor([9.0, 2.0]), X, X, mixed, 0.1)
    assert given_rewards.tolist() == [[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]]


def test_33_the_normalisation_of_constant_scores_is_defined() -> None:
    gain, bias = reward_modeling.normalising_affine(torch.full((5,), 2.0), "affine_on_sft_samples")
    assert math.isfinite(gain)
    assert abs(gain * 2.0 + bias) <= 1e-6 * gain


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 100.0))
def test_34_whitened_values_have_mean_0_and_variance_1(seed: int, scale: float) -> None:
    """Without a shift of the mean: variance 1 about the mean that they had."""
    values, mask = random_values(seed, scale)
    whitened, kept = masking.whiten(values, mask)[mask], masking.whiten_keeping_mean(values, mask)[mask]
    assert abs(float(whitened.mean())) <= 1e-5
    assert abs(float(whitened.var(correction=0)) - 1.0) <= 1e-5
    assert abs(float(kept.mean() - values[mask].mean())) <= 1e-5
    assert abs(float(kept.var(correction=0)) - 1.0) <= 1e-5


@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_34_advantages_are_whitened_over_the_whole_batch(pieces: int) -> None:
    """However the batch is cut for forwards, minibatches or micro-batches."""
    size = 8 // pieces
    state = new_state()
    whole = new_experience(state, config_with(micro_batch_size=8))
    cut = new_experience(state, config_with(micro_batch_size=size))
    assert float((whole.advantages - cut.advantages).abs().max()) <= 1e-5
    valid = cut.advantages[cut.response_mask].double()
    assert abs(float(valid.mean())) <= 1e-5
    assert abs(float(valid.var(correction=0)) - 1.0) <= 1e-5
    parts = [part.advantages[part.response_mask] for part in cut.micro_batches(size)]
    assert len(parts) == pieces
    assert torch.equal(torch.cat(parts), cut.advantages[cut.response_mask])
    minibatches = list(cut.shuffled_minibatches(pieces, epochs=1, seed=0))
    shuffled = torch.cat([part.advantages[part.response_mask] for part in minibatches])
    assert torch.equal(shuffled.sort().values, valid.float().sort().values)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_34_whitened_rewards_keep_their_mean_over_the_batch(size: int) -> None:
    plain, whitened = (
        new_experience(new_state(), config_with(micro_batch_size=size, whiten_rewards=on)) for on in (False, True)
    )
    before, after = (part.rewards[part.response_mask].double() for part in (plain, whitened))
    assert abs(float(before.mean() - after.mean())) <= 1e-5
    assert abs(float(after.var(correction=0)) - 1.0) <= 1e-5
