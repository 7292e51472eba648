"""PPO with a per-token KL penalty to the reference policy (Ziegler et al. 2019; Huang et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import torch
from transformers import PreTrainedModel

from rlhf_engine.advantages import generalized_advantages
from rlhf_engine.backoff import BackOff
from rlhf_engine.collecting import policy_logprobs, roll_out, scores_of, values_of
from rlhf_engine.config import PPOConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.experience import PPOExperience
from rlhf_engine.hooks import Hooks
from rlhf_engine.kl_control import KLController
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.losses import clipped_policy_loss, clipped_value_loss
from rlhf_engine.masking import whiten, whiten_keeping_mean
from rlhf_engine.models import compute_precision
from rlhf_engine.optim import ScheduledAdamW, check_finite_loss
from rlhf_engine.ranks import ALONE, Ranks
from rlhf_engine.rewards import apply_missing_eos_rule, kl_penalized_rewards
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import ScalarModel, response_values
from rlhf_engine.unfinished_update import UnfinishedUpdate
from rlhf_engine.update_metrics import UpdateMetrics, UpdateStatistics


@dataclass
class PPOModels:
    """The four roles; `ref_policy` and `reward_model` never change."""

    policy: PreTrainedModel
    ref_policy: PreTrainedModel
    value_model: ScalarModel
    reward_model: ScalarModel

    def logprobs_and_values(self, rollout: Rollout, *, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The policy's log-probabilities and the critic's values, [B, R] each, with gradient."""
        logprobs = response_logprobs(self.policy, rollout, temperature=temperature)
        return logprobs, response_values(self.value_model, rollout)


@dataclass
class PPOState:
    """Everything that survives a restart. `updates_done` keys the noise of sampling and shuffling.

    `unfinished` is what the update under way has done, None between updates.
    """

    models: PPOModels
    policy_optimizer: ScheduledAdamW
    value_optimizer: ScheduledAdamW
    kl: KLController
    eos_id: int
    pad_id: int
    updates_done: int = 0
    unfinished: UnfinishedUpdate[PPOExperience] | None = None
    backoff: BackOff = field(default_factory=BackOff)
    ranks: Ranks = ALONE


def train_ppo(
    state: PPOState, prompt_batches: Iterable[Sequence[Prompt]], config: PPOConfig, hooks: Hooks
) -> Iterator[UpdateMetrics]:
    """The loop over updates, for library users."""
    for prompts in prompt_batches:
        yield ppo_update(state, prompts, config, hooks)[1]


def ppo_update(
    state: PPOState, prompts: Sequence[Prompt], config: PPOConfig, hooks: Hooks
) -> tuple[PPOExperience, UpdateMetrics]:
    """One update: experience from `prompts`, then `ppo_epochs` passes over it in shuffled minibatches.

    Goes on with the update that `state.unfinished` holds, if any. Raises NonFiniteError before an optimizer step that
    would not be finite.
    """
    unfinished = state.unfinished = state.unfinished or UnfinishedUpdate(UpdateStatistics.of(config))
    experience = unfinished.experience = unfinished.experience or collect_experience(state, prompts, config, hooks)
    statistics = unfinished.statistics
    minibatches = experience.shuffled_minibatches(
        config.minibatches, epochs=config.ppo_epochs, seed=config.seed + state.updates_done
    )
    with hooks.phase("update"):
        for minibatch in islice(minibatches, statistics.minibatches, None):
            accumulate = partial(accumulate_gradients, state, minibatch, config, statistics, hooks)
            state.backoff.attempt("update", min(config.micro_batch_size, len(minibatch)), accumulate, hooks)
            statistics.share(state.ranks)
            with hooks.phase("optimizer"):
                within_limit = statistics.end_minibatch(state.policy_optimizer, state.value_optimizer)
            if not within_limit:
                break
    metrics = UpdateMetrics.of(experience, statistics, kl_coef=state.kl.coef)
    state.kl.update(metrics.values["kl/sequence_nats"])
    state.updates_done += 1
    state.unfinished = None
    return experience, metrics


def accumulate_gradients(
    state: PPOState,
    minibatch: PPOExperience,
    config: PPOConfig,
    statistics: UpdateStatistics,
    hooks: Hooks,
    micro_batch_size: int,
) -> None:
    """The gradients of this rank's share of a minibatch's loss, `micro_batch_size` episodes at a time."""
    state.policy_optimizer.drop_gradients()
    state.value_optimizer.drop_gradients()
    statistics.forget_unfinished_minibatch()
    for micro_batch in minibatch.share_of(state.ranks).micro_batches(micro_batch_size):
        hooks.safe_point()
        with hooks.phase("forward"):
            loss = ppo_loss(state.models, micro_batch, minibatch, config, statistics)
            check_finite_loss(loss)
        with hooks.phase("backward"):
            loss.backward()


def ppo_loss(
    models: PPOModels,
    micro_batch: PPOExperience,
    minibatch: PPOExperience,
    config: PPOConfig,
    statistics: UpdateStatistics,
) -> torch.Tensor:
    """The micro-batch's share of its minibatch's loss: clipped policy loss + vf_coef * clipped value loss."""
    rollout, mask, token_count = micro_batch.rollout, micro_batch.response_mask, minibatch.token_count
    with compute_precision(mask.device, config.precision.compute):
        logprobs, values = models.logprobs_and_values(rollout, temperature=config.temperature)
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
    statistics.add(micro_batch, logprobs, {"policy": policy_loss, "value": value_loss}, clip_range=config.clip_range)
    statistics.add_values(micro_batch, values, value_clip_range=config.value_clip_range)
    return policy_loss + config.vf_coef * value_loss


@torch.no_grad()
def collect_experience(state: PPOState, prompts: Sequence[Prompt], config: PPOConfig, hooks: Hooks) -> PPOExperience:
    """Responses to `prompts` and what is known of them before the update, one named quantity a line."""
    models = state.models
    rollout = roll_out(state, prompts, config, hooks)
    logprobs, entropies = policy_logprobs(state, models.policy, rollout, config, hooks, phase="policy logprobs")
    ref_logprobs, _ = policy_logprobs(state, models.ref_policy, rollout, config, hooks, phase="reference logprobs")
    values = values_of(state, models.value_model, rollout, config, hooks)
    raw_scores, disagreements = scores_of(state, models.reward_model, rollout, config, hooks)
    scores = apply_missing_eos_rule(raw_scores, rollout.ended, rule=config.missing_eos, value=config.missing_eos_value)
    rewards = kl_penalized_rewards(scores, logprobs, ref_logprobs, rollout.response_mask, state.kl.coef)
    if config.whiten_rewards:
        rewards = whiten_keeping_mean(rewards, rollout.response_mask)
    advantages, returns = generalized_advantages(
        rewards, values, rollout.response_mask, gamma=config.gamma, gae_lambda=config.gae_lambda
    )
    if config.whiten_advantages:
        advantages = whiten(advantages, rollout.response_mask)
    return PPOExperience(
        rollout, logprobs, ref_logprobs, entropies, scores, disagreements, rewards, advantages, values, returns
    )
