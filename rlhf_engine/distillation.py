"""Distillation of a policy into a smaller one, on the teacher's samples: one update, and how far apart they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_engine.backoff import BackOff
from rlhf_engine.config import DistilConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.divergence import response_divergences
from rlhf_engine.generation import generate_rollout
from rlhf_engine.hooks import Hooks
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.losses import next_token_loss
from rlhf_engine.masking import masked_sum
from rlhf_engine.models import compute_precision
from rlhf_engine.optim import ScheduledAdamW, check_finite_loss
from rlhf_engine.rollout import Rollout, in_micro_batches


@dataclass
class DistilState:
    """Everything that survives a restart; `teacher` never changes."""

    student: PreTrainedModel
    teacher: PreTrainedModel
    optimizer: ScheduledAdamW
    eos_id: int
    pad_id: int
    backoff: BackOff = field(default_factory=BackOff)


@dataclass(frozen=True)
class DistilMetrics:
    """`loss` in nats per token of the teacher's samples: KL(teacher || student), or the samples' cross-entropy."""

    loss: float
    grad_norm: float
    lr: float
    sample_tokens: float


def distil_update(
    state: DistilState, prompts: Sequence[Prompt], config: DistilConfig, hooks: Hooks, *, first_episode: int
) -> DistilMetrics:
    """One optimizer step on new samples of the teacher, whatever the micro-batch size.

    `first_episode` keys the samples' noise. Raises NonFiniteError before a step that would not be finite.
    """
    episodes = range(first_episode, first_episode + len(prompts))
    with hooks.phase("rollout"):
        samples = sample(state.teacher, state, prompts, config, hooks, episodes=episodes)

    def accumulate(rows: int) -> Tensor:
        return accumulate_gradients(state, samples, config, hooks, rows)

    with hooks.phase("update"):
        loss = state.backoff.attempt("update", min(config.micro_batch_size, len(samples)), accumulate, hooks)
        lr = state.optimizer.lr
        with hooks.phase("optimizer"):
            norm = state.optimizer.step()
    return DistilMetrics(float(loss), norm, lr, float(samples.response_lengths.float().mean()))


def accumulate_gradients(
    state: DistilState, samples: Rollout, config: DistilConfig, hooks: Hooks, micro_batch_size: int
) -> Tensor:
    """The samples' loss in nats per token, and its gradients, `micro_batch_size` rows at a time."""
    state.optimizer.drop_gradients()
    token_count = samples.response_mask.sum()
    losses = []
    for rows in torch.arange(len(samples), device=token_count.device).split(micro_batch_size):
        hooks.safe_point()
        with hooks.phase("forward"):
            with compute_precision(token_count.device, config.precision.compute):
                loss = distil_loss(state, samples.rows(rows), config, token_count)
            check_finite_loss(loss)
        with hooks.phase("backward"):
            loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses).sum()


def distil_loss(state: DistilState, samples: Rollout, config: DistilConfig, token_count: Tensor) -> Tensor:
    """A micro-batch's share, scalar: cross-entropy of the samples (Kim and Rush 2016, sequence level), or KL(teacher ||
    student) at temperature `softening`, times its square, which keeps the gradient's size (Hinton et al. 2015).
    """
    mask = samples.response_mask
    if config.objective == "samples":
        logprobs = response_logprobs(state.student, samples, temperature=config.temperature)
        return next_token_loss(logprobs, mask, token_count)
    temperature = config.temperature * config.softening
    found = response_divergences(state.student, state.teacher, samples, temperature=temperature)
    return config.softening**2 * masked_sum(found, mask) / token_count


def sample(
    policy: PreTrainedModel,
    state: DistilState,
    prompts: Sequence[Prompt],
    config: DistilConfig,
    hooks: Hooks,
    *,
    episodes: range,
) -> Rollout:
    """What `policy` writes for `prompts`."""

    def of_batches(batch_size: int) -> Rollout:
        return generate_rollout(
            policy,
            [prompt.tokens for prompt in prompts],
            episodes=episodes,
            seed=config.seed,
            response_tokens=config.response_tokens,
            temperature=config.temperature,
            eos_id=state.eos_id,
            pad_id=state.pad_id,
            batch_size=batch_size,
            hooks=hooks,
        )

    with compute_precision(policy.device, config.precision.compute):
        return state.backoff.attempt("rollout", min(config.rollout_batch_size, len(prompts)), of_batches, hooks)


@torch.no_grad()
def kl_to_teacher(state: DistilState, samples: Rollout, config: DistilConfig, hooks: Hooks) -> Tensor:
    """KL(student || teacher) of the student's own `samples` in nats per sequence, fp32 [B]: exact at each token."""

    def of_rows(rows: Rollout) -> tuple[Tensor]:
        found = response_divergences(state.teacher, state.student, rows, temperature=config.temperature)
        return (found.sum(dim=-1),)

    def in_pieces(rows: int) -> Tensor:
        return in_micro_batches(of_rows, samples, rows, hooks)[0]

    with compute_precision(samples.tokens.device, config.precision.compute):
        return state.backoff.attempt("KL", min(config.micro_batch_size, len(samples)), in_pieces, hooks)
