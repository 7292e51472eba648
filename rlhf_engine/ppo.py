"""PPO with a per-token KL penalty to the reference policy (Ziegler et al. 2019; Huang et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from rlhf_engine.advantages import generalized_advantages
from rlhf_engine.config import PPOConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.experience import Experience
from rlhf_engine.generation import generate_rollout
from rlhf_engine.hooks import Hooks
from rlhf_engine.logprobs import response_logprobs, response_logprobs_and_entropies
from rlhf_engine.losses import clipped_policy_loss, clipped_value_loss
from rlhf_engine.masking import whiten, whiten_keeping_mean
from rlhf_engine.models import compute_precision
from rlhf_engine.optim import ScheduledAdamW, check_finite_loss
from rlhf_engine.ppo_metrics import PPOMetrics, UpdateStatistics
from rlhf_engine.rewards import FixedKL, apply_missing_eos_rule, kl_penalized_rewards
from rlhf_engine.rollout import Rollout, in_micro_batches
from rlhf_engine.scalar_models import ScalarModel, response_scores, response_values


@dataclass
class PPOModels:
    """The four roles; `ref_policy` and `reward_model` never change."""

    policy: PreTrainedModel
    ref_policy: PreTrainedModel
    value_model: ScalarModel
    reward_model: ScalarModel


@dataclass
class PPOState:
    """Everything that survives a restart. `updates_done` keys the noise of sampling and shuffling."""

    models: PPOModels
    policy_optimizer: ScheduledAdamW
    value_optimizer: ScheduledAdamW
    kl: FixedKL
    eos_id: int
    pad_id: int
    updates_done: int = 0


def train_ppo(
    state: PPOState, prompt_batches: Iterable[Sequence[Prompt]], config: PPOConfig, hooks: Hooks
) -> Iterator[PPOMetrics]:
    """The loop over updates, for library users."""
    for prompts in prompt_batches:
        yield ppo_update(state, prompts, config, hooks)[1]


def ppo_update(
    state: PPOState, prompts: Sequence[Prompt], config: PPOConfig, hooks: Hooks
) -> tuple[Experience, PPOMetrics]:
    """One update: experience from `prompts`, then `ppo_epochs` passes over it in shuffled minibatches.

    Raises NonFiniteError before an optimizer step that would not be finite.
    """
    experience = collect_experience(state, prompts, config, hooks)
    statistics = UpdateStatistics()
    minibatches = experience.shuffled_minibatches(
        config.minibatches, epochs=config.ppo_epochs, seed=config.seed + state.updates_done
    )
    with hooks.phase("update"):
        for minibatch in minibatches:
            for micro_batch in minibatch.micro_batches(config.micro_batch_size):
                hooks.safe_point()
                loss = ppo_loss(state.models, micro_batch, minibatch, config, statistics)
                check_finite_loss(loss)
                loss.backward()
            statistics.end_minibatch(state.policy_optimizer, state.value_optimizer)
    state.updates_done += 1
    return experience, PPOMetrics.of(experience, statistics, kl_coef=state.kl.coef)


def ppo_loss(
    models: PPOModels, micro_batch: Experience, minibatch: Experience, config: PPOConfig, statistics: UpdateStatistics
) -> torch.Tensor:
    """The micro-batch's share of its minibatch's loss: clipped policy loss + vf_coef * clipped value loss."""
    rollout, mask, token_count = micro_batch.rollout, micro_batch.response_mask, minibatch.token_count
    with compute_precision(mask.device, config.precision.compute):
        logprobs = response_logprobs(models.policy, rollout, temperature=config.temperature)
        values = response_values(models.value_model, rollout)
    policy_loss = clipped_policy_loss(
        logprobs,
        micro_batch.logprobs,
        micro_batch.advantages,
        mask,
        clip_range=config.clip_range,
        token_count=token_count,
    )
    value_loss = clipped_value_loss(
        values,
        micro_batch.values,
        micro_batch.returns,
        mask,
        value_clip_range=config.value_clip_range,
        token_count=token_count,
    )
    statistics.add(micro_batch, logprobs, values, policy_loss, value_loss, config.clip_range, config.value_clip_range)
    return policy_loss + config.vf_coef * value_loss


@torch.no_grad()
def collect_experience(state: PPOState, prompts: Sequence[Prompt], config: PPOConfig, hooks: Hooks) -> Experience:
    """Responses to `prompts` and what is known of them before the update, one named quantity a line."""
    models = state.models
    rollout = roll_out(state, prompts, config, hooks)
    logprobs, entropies = policy_logprobs(models.policy, rollout, config, hooks, phase="policy logprobs")
    ref_logprobs, _ = policy_logprobs(models.ref_policy, rollout, config, hooks, phase="reference logprobs")
    values = evaluate(models.value_model, response_values, rollout, config, hooks, phase="values")
    raw_scores = evaluate(models.reward_model, response_scores, rollout, config, hooks, phase="scores")
    scores = apply_missing_eos_rule(raw_scores, rollout.ended, rule=config.missing_eos, value=config.missing_eos_value)
    rewards = kl_penalized_rewards(scores, logprobs, ref_logprobs, rollout.response_mask, state.kl.coef)
    if config.whiten_rewards:
        rewards = whiten_keeping_mean(rewards, rollout.response_mask)
    advantages, returns = generalized_advantages(
        rewards, values, rollout.response_mask, gamma=config.gamma, gae_lambda=config.gae_lambda
    )
    if config.whiten_advantages:
        advantages = whiten(advantages, rollout.response_mask)
    return Experience(rollout, logprobs, ref_logprobs, entropies, values, scores, rewards, advantages, returns)


def roll_out(state: PPOState, prompts: Sequence[Prompt], config: PPOConfig, hooks: Hooks) -> Rollout:
    """The policy's responses; episode numbers key the sampling noise."""
    first_episode = state.updates_done * config.batch_size
    with hooks.phase("rollout"), compute_precision(state.models.policy.device, config.precision.compute):
        return generate_rollout(
            state.models.policy,
            [prompt.tokens for prompt in prompts],
            episodes=range(first_episode, first_episode + len(prompts)),
            seed=config.seed,
            response_tokens=config.response_tokens,
            temperature=config.temperature,
            eos_id=state.eos_id,
            pad_id=state.pad_id,
            batch_size=config.rollout_batch_size,
            hooks=hooks,
        )


def policy_logprobs(
    policy: PreTrainedModel, rollout: Rollout, config: PPOConfig, hooks: Hooks, *, phase: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropies [B, R] by the training forward, never taken from generation."""

    def forward(rows: Rollout) -> tuple[torch.Tensor, torch.Tensor]:
        return response_logprobs_and_entropies(policy, rows, temperature=config.temperature)

    with hooks.phase(phase), compute_precision(policy.device, config.precision.compute):
        logprobs, entropies = in_micro_batches(forward, rollout, config.micro_batch_size, hooks)
    return logprobs, entropies


def evaluate(  # type: ignore[no-untyped-def]
    model: ScalarModel, forward, rollout: Rollout, config: PPOConfig, hooks: Hooks, *, phase: str
) -> torch.Tensor:
    """`forward(model, rows)` over the rollout's micro-batches: values [B, R] or scores [B]."""
    with hooks.phase(phase), compute_precision(rollout.tokens.device, config.precision.compute):
        (result,) = in_micro_batches(lambda rows: (forward(model, rows),), rollout, config.micro_batch_size, hooks)
    return result
