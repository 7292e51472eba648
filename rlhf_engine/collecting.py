"""How PPO, RLOO and GRPO collect experience: the policy's responses, and what each model says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlhf_engine.backoff import BackOff
from rlhf_engine.config import OnlineConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.eval.attribution import token_scores
from rlhf_engine.generation import SampledResponses, generate_rollout
from rlhf_engine.hooks import Hooks
from rlhf_engine.logprobs import response_logprobs_and_entropies
from rlhf_engine.models import compute_precision
from rlhf_engine.ranks import Dealt, Ranks
from rlhf_engine.rollout import Rollout, in_micro_batches
from rlhf_engine.scalar_models import ScalarModel, response_values, scores_and_disagreements
from rlhf_engine.sharding.state import rest_between_passes
from rlhf_engine.shares import joined_rollout
from rlhf_engine.unfinished_update import UnfinishedUpdate


class OnlineModels(Protocol):
    """The roles that every online algorithm has; `ref_policy` and `reward_model` never change."""

    policy: PreTrainedModel
    ref_policy: PreTrainedModel
    reward_model: ScalarModel


class OnlineState(Protocol):
    """What collecting needs of a state; `updates_done` keys the noise of sampling."""

    @property
    def models(self) -> OnlineModels: ...

    @property
    def unfinished(self) -> UnfinishedUpdate[Any] | None: ...

    eos_id: int
    pad_id: int
    updates_done: int
    backoff: BackOff
    ranks: Ranks


def roll_out(state: OnlineState, prompts: Sequence[Prompt], config: OnlineConfig, hooks: Hooks) -> Rollout:
    """The policy's responses, each rank's share of them sampled there; episode numbers key the sampling noise."""
    policy, first_episode = state.models.policy, state.updates_done * config.batch_size
    dealt = state.ranks.dealt([len(prompt.tokens) for prompt in prompts])
    own = dealt[state.ranks.rank]

    def sample(batch_size: int) -> Rollout:
        responses = SampledResponses.none_yet(len(own), config.response_tokens, batch_size, policy.device)
        return generate_rollout(
            policy,
            [prompts[row].tokens for row in own],
            episodes=[first_episode + row for row in own],
            seed=config.seed,
            response_tokens=config.response_tokens,
            temperature=config.temperature,
            eos_id=state.eos_id,
            pad_id=state.pad_id,
            batch_size=batch_size,
            hooks=hooks,
            responses=state.unfinished.keep(responses) if state.unfinished else responses,
        )

    with hooks.phase("rollout"), compute_precision(policy.device, config.precision.compute):
        rollout = state.backoff.attempt("rollout", min(config.rollout_batch_size, len(own)), sample, hooks)
        return joined_rollout(rollout, [prompt.tokens for prompt in prompts], dealt, state.ranks, state.pad_id)


def policy_logprobs(
    state: OnlineState, policy: PreTrainedModel, rollout: Rollout, config: OnlineConfig, hooks: Hooks, *, phase: str
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies [B, R] by the training forward, never taken from generation."""

    def forward(rows: Rollout) -> tuple[Tensor, Tensor]:
        return response_logprobs_and_entropies(policy, rows, temperature=config.temperature)

    logprobs, entropies = _of_all_rows(policy, forward, state, rollout, config, hooks, phase=phase)
    return logprobs, entropies


def scores_of(
    state: OnlineState, reward_model: ScalarModel, rollout: Rollout, config: OnlineConfig, hooks: Hooks
) -> tuple[Tensor, Tensor]:
    """Scores less `ensemble_penalty` times the heads' disagreement, and that disagreement, [B] each."""

    def forward(rows: Rollout) -> tuple[Tensor, Tensor]:
        return scores_and_disagreements(reward_model, rows, ensemble_penalty=config.ensemble_penalty)

    scores, disagreements = _of_all_rows(reward_model, forward, state, rollout, config, hooks, phase="scores")
    return scores, disagreements


def score_gains_of(
    state: OnlineState, reward_model: ScalarModel, rollout: Rollout, config: OnlineConfig, hooks: Hooks
) -> Tensor:
    """What reading each token added to the reward model's score, [B, R]; the first token's is counted from 0."""

    def forward(rows: Rollout) -> tuple[Tensor]:
        return (token_scores(reward_model, rows),)

    so_far = _of_all_rows(reward_model, forward, state, rollout, config, hooks, phase="token scores")[0]
    before = F.pad(so_far, (1, 0))[:, :-1]
    return (so_far - before).masked_fill(~rollout.response_mask, 0.0)


def values_of(
    state: OnlineState, value_model: ScalarModel, rollout: Rollout, config: OnlineConfig, hooks: Hooks
) -> Tensor:
    """The critic's values [B, R]."""

    def forward(rows: Rollout) -> tuple[Tensor]:
        return (response_values(value_model, rows),)

    return _of_all_rows(value_model, forward, state, rollout, config, hooks, phase="values")[0]


def share_of(rollout: Rollout, dealt: Dealt, ranks: Ranks) -> Rollout:
    """The rows of this rank; alone, the rollout itself."""
    if ranks.size == 1:
        return rollout
    return rollout.picked(torch.tensor(dealt[ranks.rank], device=rollout.tokens.device))


def _of_all_rows(
    model: nn.Module,
    forward: Callable[[Rollout], tuple[Tensor, ...]],
    state: OnlineState,
    rollout: Rollout,
    config: OnlineConfig,
    hooks: Hooks,
    *,
    phase: str,
) -> tuple[Tensor, ...]:
    """`forward` of `model` in micro-batches, in a phase of its own, with as many rows at a time as memory takes.

    Each rank has its share of the rows; all get all results.
    """
    with hooks.phase(phase), compute_precision(rollout.tokens.device, config.precision.compute):
        dealt = state.ranks.dealt(rollout.lengths)
        own = share_of(rollout, dealt, state.ranks)
        results = state.backoff.attempt(
            phase,
            min(config.micro_batch_size, len(own)),
            lambda rows: in_micro_batches(forward, own, rows, hooks),
            hooks,
        )
        rest_between_passes(model)
        return tuple(state.ranks.joined(part, dealt) for part in results)
