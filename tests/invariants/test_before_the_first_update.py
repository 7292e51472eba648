"""Before any weight has changed: policy = reference, ratio = 1, and the critic is the reward model."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from decoding import chosen, decoded
from engine_models import ARCHITECTURES, random_rollout
from plain_forward import one_by_one_logprobs
from rlhf_engine import logprobs, models, ppo, scalar_models, trunk, update_metrics
from rlhf_engine.config import Architecture, PPOConfig, Precision, PrecisionConfig
from rlhf_engine.experience import PPOExperience
from rlhf_engine.ppo import PPOState
from rlhf_engine.rollout import Rollout
from small_ppo import (
    CONFIG,
    CPU,
    HOOKS,
    PROMPTS,
    assert_close_gradients,
    config_with,
    frozen_copy,
    gradients_of,
    new_experience,
    new_policy,
    new_scalar_model,
    new_state,
)

ONE_STEP = config_with(ppo_epochs=1, minibatches=1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_01_kl_is_zero_before_any_update(architecture: Architecture) -> None:
    policy, rows = new_policy(architecture), random_rollout()
    roles = (policy, frozen_copy(policy))
    (ours, entropies), (theirs, _) = (
        logprobs.response_logprobs_and_entropies(role, rows, temperature=0.7) for role in roles
    )
    assert float(entropies.max()) > 0.1
    assert float((ours - theirs).abs().max()) == 0.0
    p, q = (
        (trunk.padded_states(role.base_model, rows.token_rows) @ models.lm_head_weight(role).T / 0.7).log_softmax(-1)
        for role in roles
    )
    assert float((p.exp() * (p - q)).sum(dim=-1).abs().max()) == 0.0


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_01_kl_is_zero_in_experience_rewards_and_metrics(architecture: Architecture, compute: Precision) -> None:
    config = config_with(precision=PrecisionConfig(compute=compute), kl_coef=10.0)
    experience, metrics = ppo.ppo_update(new_state(config, architecture), PROMPTS, config, HOOKS)
    assert float((experience.logprobs - experience.ref_logprobs).abs().max()) == 0.0
    assert torch.equal(experience.rewards.sum(dim=1), experience.scores)
    assert metrics.values["kl/token_max_nats"] == metrics.values["kl/sequence_nats"] == 0.0


@pytest.mark.parametrize(("compute", "tolerance"), [("float32", 1e-4), ("bfloat16", 1e-1)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_01_generation_and_reference_agree(architecture: Architecture, compute: Precision, tolerance: float) -> None:
    policy = new_policy(architecture)
    rows, beliefs = decoded(policy, temperature=0.7, compute=compute)
    with models.compute_precision(CPU, compute), torch.no_grad():
        reference = logprobs.response_logprobs(frozen_copy(policy), rows, temperature=0.7)
    assert float((chosen(beliefs, rows) - reference[rows.response_mask]).abs().max()) <= tolerance


def ratio_deviations(state: PPOState, experience: PPOExperience, config: PPOConfig) -> Iterator[Tensor]:
    """|ratio - 1| of every valid token, micro-batch by micro-batch of the first minibatch."""
    minibatch = next(experience.shuffled_minibatches(config.minibatches, epochs=1, seed=config.seed))
    for micro_batch in minibatch.micro_batches(config.micro_batch_size):
        new = logprobs.response_logprobs(state.models.policy, micro_batch.rollout, temperature=config.temperature)
        yield ((new - micro_batch.logprobs).exp() - 1.0).abs()[micro_batch.response_mask]


@pytest.mark.parametrize("micro_batch_size", [1, 3, 8])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_02_ratio_is_one_on_every_microbatch(architecture: Architecture, micro_batch_size: int) -> None:
    config = config_with(micro_batch_size=micro_batch_size)
    state = new_state(config, architecture)
    experience = new_experience(state, config)
    deviations = list(ratio_deviations(state, experience, config))
    assert len(deviations) == -(-4 // micro_batch_size)
    assert max(float(part.max()) for part in deviations) <= 1e-5
    _, metrics = ppo.ppo_update(state, PROMPTS, config, HOOKS)
    assert metrics.values["policy/ratio_max_deviation"] <= 1e-5


def test_02_the_metric_is_a_maximum_over_every_microbatch_of_the_first_minibatch() -> None:
    """One token in the last micro-batch is off, by 1 %, and another by -1 %: a mean would not see them."""
    state = new_state(ONE_STEP)
    experience = new_experience(state, ONE_STEP)
    experience.logprobs[7, 0] -= torch.tensor(1.01).log()
    experience.logprobs[6, 0] -= torch.tensor(0.99).log()
    statistics = update_metrics.UpdateStatistics()
    for micro_batch in experience.micro_batches(3):
        ppo.ppo_loss(state.models, micro_batch, experience, ONE_STEP, statistics)
    statistics.end_minibatch(state.policy_optimizer, state.value_optimizer)
    metrics = update_metrics.UpdateMetrics.of(experience, statistics, kl_coef=0.0)
    assert abs(metrics.values["policy/ratio_max_deviation"] - 0.01) < 1e-5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_03_nothing_is_clipped_and_approx_kl_is_zero(architecture: Architecture) -> None:
    config = config_with(clip_range=1e-5, value_clip_range=1e-5)
    state = new_state(config, architecture)
    experience = new_experience(state, config)
    statistics = update_metrics.UpdateStatistics()
    for micro_batch in experience.micro_batches(config.micro_batch_size):
        ppo.ppo_loss(state.models, micro_batch, experience, config, statistics).backward()
    statistics.end_minibatch(state.policy_optimizer, state.value_optimizer)
    values = update_metrics.UpdateMetrics.of(experience, statistics, kl_coef=0.0).values
    names = ("policy/approx_kl_nats", "policy/clip_fraction", "value/clip_fraction", "policy/ratio_max_deviation")
    assert [values[name] for name in names] == [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_04_the_first_gradient_is_reinforce(architecture: Architecture) -> None:
    config = config_with(vf_coef=0.0)
    state = new_state(config, architecture)
    experience, policy = new_experience(state, config), state.models.policy
    mask = experience.response_mask
    loss = ppo.ppo_loss(state.models, experience, experience, config, update_metrics.UpdateStatistics())
    assert abs(float(loss.detach()) + float(experience.advantages[mask].mean())) <= 1e-6
    loss.backward()
    ours = {name: None if g is None else g.clone() for name, g in gradients_of(policy).items()}
    policy.zero_grad()
    flat = torch.cat(one_by_one_logprobs(policy, experience.rollout, config.temperature))
    (-(experience.advantages[mask] * flat).sum() / mask.sum()).backward()
    assert_close_gradients(gradients_of(policy), ours, rtol=1e-5)


def prefix(rows: Rollout, length: int) -> Rollout:
    """Prompts and the first `length` response tokens of each row."""
    width = rows.prompt_tokens.shape[1] + length
    parts = rows.tokens[:, : width - 1], rows.mask[:, : width - 1], rows.tokens[:, width - 1 : width]
    return Rollout(*parts, rows.mask[:, width - 1 : width], rows.ended)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_08_the_critic_starts_as_the_reward_model_per_token(architecture: Architecture) -> None:
    reward_model, rows = new_scalar_model(architecture), random_rollout()
    reward_model.set_affine(1.7, -0.4)
    values = scalar_models.response_values(frozen_copy(reward_model), rows)
    for t in range(1, rows.response_tokens.shape[1]):
        still_going = rows.response_mask[:, t]
        scores = scalar_models.response_scores(reward_model, prefix(rows, t))
        assert torch.allclose(values[still_going, t], scores[still_going], rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_08_value_of_the_state_after_eos_is_the_score(architecture: Architecture) -> None:
    """A token more behind each row's end makes the state after its last token one whose value is asked for."""
    reward_model, rows = new_scalar_model(architecture), random_rollout()
    reward_model.set_affine(1.7, -0.4)
    scores = scalar_models.response_scores(reward_model, rows)
    last = rows.response_lengths
    longer = torch.nn.functional.pad(rows.response_mask, (0, 1))
    longer[torch.arange(len(rows)), last] = True
    behind = Rollout(
        rows.prompt_tokens, rows.prompt_mask, torch.nn.functional.pad(rows.response_tokens, (0, 1)), longer, rows.ended
    )
    values = scalar_models.response_values(frozen_copy(reward_model), behind)
    assert torch.allclose(values[torch.arange(len(rows)), last], scores, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_08_the_first_values_are_scores_in_experience(architecture: Architecture) -> None:
    state = new_state(CONFIG, architecture)
    experience = new_experience(state)
    rows = experience.rollout
    scores = scalar_models.response_scores(state.models.reward_model, prefix(rows, 1))
    going_on = rows.response_mask[:, 1]
    assert torch.allclose(experience.values[going_on, 1], scores[going_on].detach(), rtol=0.0, atol=1e-5)
