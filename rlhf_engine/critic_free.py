"""RLOO (Ahmadian et al. 2024) and GRPO (Shao et al. 2024): responses to one prompt are each other's baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_engine.advantages import group_relative_advantages, leave_one_out_advantages
from rlhf_engine.backoff import BackOff
from rlhf_engine.collecting import policy_logprobs, roll_out, scores_of
from rlhf_engine.config import GRPOConfig, RLOOConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.experience import Experience
from rlhf_engine.hooks import Hooks
from rlhf_engine.kl_control import KLController
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.losses import clipped_policy_loss, reference_kl_loss
from rlhf_engine.models import compute_precision
from rlhf_engine.optim import ScheduledAdamW, check_finite_loss
from rlhf_engine.ranks import ALONE, Ranks
from rlhf_engine.rewards import apply_missing_eos_rule, kl_penalized_rewards
from rlhf_engine.scalar_models import ScalarModel
from rlhf_engine.unfinished_update import UnfinishedUpdate
from rlhf_engine.update_metrics import UpdateMetrics, UpdateStatistics


@dataclass
class CriticFreeModels:
    """The three roles; `ref_policy` and `reward_model` never change."""

    policy: PreTrainedModel
    ref_policy: PreTrainedModel
    reward_model: ScalarModel


@dataclass
class CriticFreeState:
    """Everything that survives a restart. `updates_done` keys the noise of sampling and shuffling.

    `unfinished` is what the update under way has done, None between updates.
    """

    models: CriticFreeModels
    policy_optimizer: ScheduledAdamW
    kl: KLController
    eos_id: int
    pad_id: int
    updates_done: int = 0
    unfinished: UnfinishedUpdate[Experience] | None = None
    backoff: BackOff = field(default_factory=BackOff)
    ranks: Ranks = ALONE


def critic_free_update(
    state: CriticFreeState, prompts: Sequence[Prompt], config: RLOOConfig | GRPOConfig, hooks: Hooks
) -> tuple[Experience, UpdateMetrics]:
    """One update on `samples_per_prompt` responses to each of `prompts`; the config's type says which algorithm.

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
                within_limit = statistics.end_minibatch(state.policy_optimizer)
            if not within_limit:
                break
    metrics = UpdateMetrics.of(experience, statistics, kl_coef=state.kl.coef)
    state.kl.update(metrics.values["kl/sequence_nats"])
    state.updates_done += 1
    state.unfinished = None
    return experience, metrics


def accumulate_gradients(
    state: CriticFreeState,
    minibatch: Experience,
    config: RLOOConfig | GRPOConfig,
    statistics: UpdateStatistics,
    hooks: Hooks,
    micro_batch_size: int,
) -> None:
    """The gradients of this rank's share of a minibatch's loss, `micro_batch_size` episodes at a time."""
    state.policy_optimizer.drop_gradients()
    statistics.forget_unfinished_minibatch()
    for micro_batch in minibatch.share_of(state.ranks).micro_batches(micro_batch_size):
        hooks.safe_point()
        with hooks.phase("forward"):
            loss = critic_free_loss(state, micro_batch, minibatch, config, statistics)
            check_finite_loss(loss)
        with hooks.phase("backward"):
            loss.backward()


def critic_free_loss(
    state: CriticFreeState,
    micro_batch: Experience,
    minibatch: Experience,
    config: RLOOConfig | GRPOConfig,
    statistics: UpdateStatistics,
) -> Tensor:
    """The micro-batch's share of its minibatch's loss: clipped policy loss, and GRPO's KL term where it is in the loss.

    loss_mean = "responses": each token counts 1 / its response's length, so that long responses weigh no more.
    """
    rollout, mask = micro_batch.rollout, micro_batch.response_mask
    with compute_precision(mask.device, config.precision.compute):
        logprobs = response_logprobs(state.models.policy, rollout, temperature=config.temperature)
    tokens = minibatch.token_count
    if config.loss_mean == "responses":
        tokens = len(minibatch) * rollout.response_lengths.clamp(min=1).unsqueeze(-1)
    loss = clipped_policy_loss(
        logprobs,
        micro_batch.logprobs,
        micro_batch.advantages,
        mask,
        clip_range=config.clip_range,
        token_count=tokens,
    )
    terms = {"policy": loss}
    if config.kl_placement == "loss":
        terms["kl"] = reference_kl_loss(logprobs, micro_batch.ref_logprobs, mask, token_count=tokens)
        loss = loss + state.kl.coef * terms["kl"]
    statistics.add(micro_batch, logprobs, terms, clip_range=config.clip_range)
    return loss


@torch.no_grad()
def collect_experience(
    state: CriticFreeState, prompts: Sequence[Prompt], config: RLOOConfig | GRPOConfig, hooks: Hooks
) -> Experience:
    """Responses to `prompts` and what is known of them before the update, one named quantity a line."""
    models = state.models
    rollout = roll_out(state, repeated(prompts, config.samples_per_prompt), config, hooks)
    logprobs, entropies = policy_logprobs(state, models.policy, rollout, config, hooks, phase="policy logprobs")
    ref_logprobs, _ = policy_logprobs(state, models.ref_policy, rollout, config, hooks, phase="reference logprobs")
    raw_scores, disagreements = scores_of(state, models.reward_model, rollout, config, hooks)
    scores = apply_missing_eos_rule(raw_scores, rollout.ended, rule=config.missing_eos, value=config.missing_eos_value)
    reward_kl_coef = state.kl.coef if config.kl_placement == "reward" else 0.0
    rewards = kl_penalized_rewards(scores, logprobs, ref_logprobs, rollout.response_mask, reward_kl_coef)
    advantages = response_advantages(rewards.sum(dim=-1), config).unsqueeze(-1) * rollout.response_mask
    return Experience(rollout, logprobs, ref_logprobs, entropies, scores, disagreements, rewards, advantages)


def response_advantages(rewards: Tensor, config: RLOOConfig | GRPOConfig) -> Tensor:
    """[B] from the responses' whole rewards [B], those to one prompt side by side."""
    if isinstance(config, GRPOConfig):
        return group_relative_advantages(rewards, config.samples_per_prompt, divide_by_std=config.divide_by_std)
    return leave_one_out_advantages(rewards, config.samples_per_prompt)


def repeated(prompts: Sequence[Prompt], times: int) -> list[Prompt]:
    """Each prompt `times` times, side by side."""
    return [prompt for prompt in prompts for _ in range(times)]
