"""How PPO, RLOO and GRPO collect experience: the policy's responses, and what each model says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedModel

from rlhf_engine.config import OnlineConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.generation import generate_rollout
from rlhf_engine.hooks import Hooks
from rlhf_engine.logprobs import response_logprobs_and_entropies
from rlhf_engine.models import compute_precision
from rlhf_engine.rollout import Rollout, in_micro_batches
from rlhf_engine.scalar_models import ScalarModel, response_values, scores_and_disagreements


class OnlineModels(Protocol):
    """The roles that every online algorithm has; `ref_policy` and `reward_model` never change."""

    policy: PreTrainedModel
    ref_policy: PreTrainedModel
    reward_model: ScalarModel


class OnlineState(Protocol):
    """What sampling needs of a state; `updates_done` keys its noise."""

    @property
    def models(self) -> OnlineModels: ...

    eos_id: int
    pad_id: int
    updates_done: int


def roll_out(state: OnlineState, prompts: Sequence[Prompt], config: OnlineConfig, hooks: Hooks) -> Rollout:
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
    policy: PreTrainedModel, rollout: Rollout, config: OnlineConfig, hooks: Hooks, *, phase: str
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies [B, R] by the training forward, never taken from generation."""

    def forward(rows: Rollout) -> tuple[Tensor, Tensor]:
        return response_logprobs_and_entropies(policy, rows, temperature=config.temperature)

    with hooks.phase(phase), compute_precision(policy.device, config.precision.compute):
        logprobs, entropies = in_micro_batches(forward, rollout, config.micro_batch_size, hooks)
    return logprobs, entropies


def scores_of(reward_model: ScalarModel, rollout: Rollout, config: OnlineConfig, hooks: Hooks) -> tuple[Tensor, Tensor]:
    """Scores less `ensemble_penalty` times the heads' disagreement, and that disagreement, [B] each."""

    def forward(rows: Rollout) -> tuple[Tensor, Tensor]:
        return scores_and_disagreements(reward_model, rows, ensemble_penalty=config.ensemble_penalty)

    with hooks.phase("scores"), compute_precision(rollout.tokens.device, config.precision.compute):
        scores, disagreements = in_micro_batches(forward, rollout, config.micro_batch_size, hooks)
    return scores, disagreements


def values_of(value_model: ScalarModel, rollout: Rollout, config: OnlineConfig, hooks: Hooks) -> Tensor:
    """The critic's values [B, R]."""

    def forward(rows: Rollout) -> tuple[Tensor]:
        return (response_values(value_model, rows),)

    with hooks.phase("values"), compute_precision(rollout.tokens.device, config.precision.compute):
        return in_micro_batches(forward, rollout, config.micro_batch_size, hooks)[0]
