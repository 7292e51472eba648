"""Bradley-Terry reward model on comparison groups of K responses (pairs: K = 2): update, accuracy, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rlhf_engine.config import Precision
from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.hooks import Hooks
from rlhf_engine.losses import pairwise_loss
from rlhf_engine.models import compute_precision
from rlhf_engine.optim import ScheduledAdamW, check_finite_loss
from rlhf_engine.scalar_models import ScalarModel
from rlhf_engine.shared_prompts import group_scores, shared_prompt_batch


@dataclass
class RewardModelState:
    """Everything that survives a restart."""

    reward_model: ScalarModel
    optimizer: ScheduledAdamW


@dataclass(frozen=True)
class RewardModelMetrics:
    """`loss` in nats per pair; `accuracy` over the batch's pairs, ties counting one half."""

    loss: float
    accuracy: float
    grad_norm: float
    lr: float
    pairs: int
    score_mean: float
    score_std: float


def pair_rows(groups: Sequence[ComparisonGroup]) -> Tensor:
    """[N, 2] of (chosen, rejected) as indices into the groups' responses laid end to end."""
    pairs, offset = [], 0
    for group in groups:
        pairs += [(offset + chosen, offset + rejected) for chosen, rejected in group.pairs]
        offset += len(group.responses)
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)


def pair_accuracy(chosen_scores: Tensor, rejected_scores: Tensor) -> float:
    """Share of pairs with the chosen response scored higher; a tie counts one half."""
    margins = chosen_scores - rejected_scores
    return float(((margins > 0).float() + 0.5 * (margins == 0).float()).mean())


def reward_model_update(
    state: RewardModelState,
    groups: Sequence[ComparisonGroup],
    *,
    micro_batch_size: int,
    compute: Precision,
    hooks: Hooks,
) -> RewardModelMetrics:
    """One optimizer step on the mean loss over all pairs of the groups, whatever the micro-batch size."""
    pair_count = sum(len(group.pairs) for group in groups)
    losses, margins, scores = [], [], []
    for start in range(0, len(groups), micro_batch_size):
        hooks.safe_point()
        micro_batch = groups[start : start + micro_batch_size]
        micro_scores = scores_of_groups(state.reward_model, micro_batch, compute=compute)
        chosen, rejected = micro_scores[pair_rows(micro_batch).to(micro_scores.device)].unbind(dim=1)
        loss = pairwise_loss(chosen, rejected, pair_count)
        check_finite_loss(loss)
        loss.backward()
        losses.append(loss.detach())
        margins.append((chosen - rejected).detach())
        scores.append(micro_scores.detach())
    margin, score = torch.cat(margins), torch.cat(scores)
    lr = state.optimizer.lr
    grad_norm = state.optimizer.step()
    return RewardModelMetrics(
        loss=float(torch.stack(losses).sum()),
        accuracy=pair_accuracy(margin, torch.zeros_like(margin)),
        grad_norm=grad_norm,
        lr=lr,
        pairs=pair_count,
        score_mean=float(score.mean()),
        score_std=float(score.std(correction=0)),
    )


def scores_of_groups(reward_model: ScalarModel, groups: Sequence[ComparisonGroup], *, compute: Precision) -> Tensor:
    """Scores of all the groups' responses, end to end, fp32 [N]."""
    device = reward_model.network.device
    with compute_precision(device, compute):
        return group_scores(reward_model, shared_prompt_batch(groups, device))


@torch.no_grad()
def score_groups(
    reward_model: ScalarModel,
    groups: Sequence[ComparisonGroup],
    *,
    micro_batch_size: int,
    compute: Precision,
    hooks: Hooks,
) -> list[list[float]]:
    """Scores of each group's responses, without gradient."""
    scores: list[list[float]] = []
    for start in range(0, len(groups), micro_batch_size):
        hooks.safe_point()
        micro_batch = groups[start : start + micro_batch_size]
        flat = scores_of_groups(reward_model, micro_batch, compute=compute).cpu()
        scores += [part.tolist() for part in flat.split([len(group.responses) for group in micro_batch])]
    return scores


def normalising_affine(
    raw_scores: Tensor, score_norm: Literal["none", "bias_on_references", "affine_on_sft_samples"]
) -> tuple[float, float]:
    """(gain, bias) with gain * raw + bias of mean 0 over `raw_scores` [N], and standard deviation 1 where affine.

    Bias only: Huang et al. 2024; affine: Ziegler et al. 2019.
    """
    if score_norm == "none":
        return 1.0, 0.0
    scores = raw_scores.double()
    gain = 1.0 if score_norm == "bias_on_references" else 1.0 / max(float(scores.std(correction=0)), 1e-6)
    return gain, -gain * float(scores.mean())
