"""Supervised fine-tuning on responses, and next-token training on plain text: one update, and the held-out loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_engine.backoff import BackOff
from rlhf_engine.config import Precision
from rlhf_engine.hooks import Hooks
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.losses import next_token_loss
from rlhf_engine.models import compute_precision
from rlhf_engine.optim import ScheduledAdamW, check_finite_loss
from rlhf_engine.ranks import ALONE, Ranks
from rlhf_engine.rollout import Rollout
from rlhf_engine.sharding.state import rest_between_passes


@dataclass
class SFTState:
    """Everything that survives a restart: weights, moments, and the number of updates done (in the optimizer)."""

    policy: PreTrainedModel
    optimizer: ScheduledAdamW
    backoff: BackOff = field(default_factory=BackOff)
    ranks: Ranks = ALONE


@dataclass(frozen=True)
class SFTMetrics:
    """`loss` in nats per response token."""

    loss: float
    grad_norm: float
    lr: float
    tokens: int


def sft_update(
    state: SFTState, batch: Rollout, *, micro_batch_size: int, compute: Precision, hooks: Hooks
) -> SFTMetrics:
    """One optimizer step on the mean loss over the batch's response tokens, whatever the micro-batch size."""

    def accumulate(rows: int) -> Tensor:
        return accumulate_gradients(state, batch, rows, compute=compute, hooks=hooks)

    with hooks.phase("update"):
        loss = state.ranks.summed(state.backoff.attempt("update", min(micro_batch_size, len(batch)), accumulate, hooks))
        lr = state.optimizer.lr
        with hooks.phase("optimizer"):
            grad_norm = state.optimizer.step()
    return SFTMetrics(float(loss), grad_norm, lr, int(batch.mask.sum()))


def accumulate_gradients(
    state: SFTState, batch: Rollout, micro_batch_size: int, *, compute: Precision, hooks: Hooks
) -> Tensor:
    """This rank's share of the batch's loss in nats per response token, and its gradients.

    `micro_batch_size` rows at a time.
    """
    state.optimizer.drop_gradients()
    token_count = batch.response_mask.sum()
    losses = []
    for rows in torch.tensor(state.ranks.own(batch.lengths), device=token_count.device).split(micro_batch_size):
        hooks.safe_point()
        micro_batch = batch.rows(rows)
        with hooks.phase("forward"):
            with compute_precision(token_count.device, compute):
                logprobs = response_logprobs(state.policy, micro_batch)
            loss = next_token_loss(logprobs, micro_batch.response_mask, token_count)
            check_finite_loss(loss)
        with hooks.phase("backward"):
            loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses).sum()


def held_out_loss(policy: PreTrainedModel, batches: Iterable[Rollout], *, compute: Precision, hooks: Hooks) -> float:
    """Cross-entropy in nats per response token over all batches."""
    return nats_per_token(row_losses(policy, batches, compute=compute, hooks=hooks))


@torch.no_grad()
def row_losses(policy: PreTrainedModel, batches: Iterable[Rollout], *, compute: Precision, hooks: Hooks) -> Tensor:
    """[N, 2], float64 on the CPU, of all batches' rows: cross-entropy of the response in nats, and its tokens."""
    found = []
    for batch in batches:
        hooks.safe_point()
        with compute_precision(policy.device, compute):
            logprobs = response_logprobs(policy, batch)
        nats = -logprobs.masked_fill(~batch.response_mask, 0.0).sum(dim=-1)
        found.append(torch.stack([nats.double(), batch.response_lengths.double()], dim=-1).cpu())
    rest_between_passes(policy)
    return torch.cat(found)


def nats_per_token(row_losses: Tensor) -> float:
    """The mean over all response tokens, of `row_losses`."""
    nats, tokens = row_losses.sum(dim=0).tolist()
    return float(nats / max(tokens, 1.0))


def packed_text_batch(sequences: Sequence[Sequence[int]], device: torch.device) -> Rollout:
    """Packed token sequences [B, T] as a rollout whose response is all but the first token."""
    tokens: Tensor = torch.tensor(sequences, dtype=torch.long, device=device)
    valid = torch.ones_like(tokens, dtype=torch.bool)
    ended = torch.zeros(len(tokens), dtype=torch.bool, device=device)
    return Rollout(tokens[:, :1], valid[:, :1], tokens[:, 1:], valid[:, 1:], ended)
