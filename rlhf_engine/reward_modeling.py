"""Bradley-Terry reward model on comparison groups of K responses (pairs: K = 2): update, accuracy, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from rlhf_engine.backoff import BackOff
from rlhf_engine.config import Precision
from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.hooks import Hooks
from rlhf_engine.losses import pairwise_loss
from rlhf_engine.models import compute_precision
from rlhf_engine.optim import ScheduledAdamW, check_finite_loss
from rlhf_engine.ranks import ALONE, Ranks
from rlhf_engine.scalar_heads import disagreement
from rlhf_engine.scalar_models import ScalarModel
from rlhf_engine.sharding.state import rest_between_passes
from rlhf_engine.shared_prompts import group_head_scores, shared_prompt_batch


@dataclass
class RewardModelState:
    """Everything that survives a restart."""

    reward_model: ScalarModel
    optimizer: ScheduledAdamW
    backoff: BackOff = field(default_factory=BackOff)
    ranks: Ranks = ALONE


@dataclass(frozen=True)
class RewardModelMetrics:
    """`loss` in nats per pair, a mean over the heads; `accuracy` of the heads' mean score, ties counting one half;
    `margin_disagreement`: mean standard deviation over the heads of a pair's difference in score.
    """

    loss: float
    accuracy: float
    grad_norm: float
    lr: float
    pairs: int
    score_mean: float
    score_std: float
    margin_disagreement: float


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


def bootstrap_weights(rows: Sequence[int], heads: int, seed: int) -> Tensor:
    """How often each head's resample has each of the comparison groups `rows`: Poisson(1), fp32 [G, n]; 1 for one head.

    The limit of drawing as many groups with replacement as there are (Oza and Russell 2001, online bagging). Groups are
    drawn whole, for pairs on one post are not independent. A pure function of (seed, row).
    """
    if heads == 1:
        return torch.ones(len(rows), 1)
    generators = (torch.Generator().manual_seed(seed * 1_000_003 + row) for row in rows)
    return torch.stack([torch.poisson(torch.ones(heads), generator=generator) for generator in generators])


def reward_model_update(
    state: RewardModelState,
    groups: Sequence[ComparisonGroup],
    *,
    micro_batch_size: int,
    compute: Precision,
    hooks: Hooks,
    weights: Tensor | None = None,
) -> RewardModelMetrics:
    """One optimizer step on the mean loss over all pairs of the groups and all heads, whatever the micro-batch size.

    `weights` [G, n] count a group so many times for a head (`bootstrap_weights`); none: once for all.
    """
    group_weights = torch.ones(len(groups), 1) if weights is None else weights
    pair_count = sum(len(group.pairs) for group in groups)
    own = state.ranks.own([group.token_count for group in groups])
    own_groups, own_weights = [groups[row] for row in own], group_weights[own]

    def accumulate(rows: int) -> tuple[Tensor, Tensor, Tensor]:
        return accumulate_gradients(state, own_groups, own_weights, pair_count, rows, compute=compute, hooks=hooks)

    with hooks.phase("update"):
        rows = min(micro_batch_size, len(own))
        own_loss, margins, scores = state.backoff.attempt("update", rows, accumulate, hooks)
        loss, head_margins, head_scores = (
            state.ranks.summed(own_loss),
            state.ranks.gathered(margins),
            state.ranks.gathered(scores),
        )
        lr = state.optimizer.lr
        with hooks.phase("optimizer"):
            grad_norm = state.optimizer.step()
    margin, score = head_margins.mean(dim=-1), head_scores.mean(dim=-1)
    return RewardModelMetrics(
        loss=float(loss),
        accuracy=pair_accuracy(margin, torch.zeros_like(margin)),
        grad_norm=grad_norm,
        lr=lr,
        pairs=len(margin),
        score_mean=float(score.mean()),
        score_std=float(score.std(correction=0)),
        margin_disagreement=float(disagreement(head_margins).mean()),
    )


def accumulate_gradients(
    state: RewardModelState,
    groups: Sequence[ComparisonGroup],
    group_weights: Tensor,
    pair_count: int,
    micro_batch_size: int,
    *,
    compute: Precision,
    hooks: Hooks,
) -> tuple[Tensor, Tensor, Tensor]:
    """What these groups add to the mean loss over `pair_count` pairs and all heads, and its gradients,
    `micro_batch_size` groups at a time.

    Beside the loss: every head's margins of the pairs [P, n], and scores of the responses [N, n].
    """
    state.optimizer.drop_gradients()
    losses, margins, scores = [], [], []
    for start in range(0, len(groups), micro_batch_size):
        hooks.safe_point()
        micro_batch = groups[start : start + micro_batch_size]
        with hooks.phase("forward"):
            micro_scores = head_scores_of_groups(state.reward_model, micro_batch, compute=compute)
            chosen, rejected = micro_scores[pair_rows(micro_batch).to(micro_scores.device)].unbind(dim=1)
            pair_weights = of_pairs(group_weights[start : start + micro_batch_size], micro_batch)
            loss = pairwise_loss(
                chosen, rejected, pair_count * chosen.shape[1], weights=pair_weights.to(micro_scores.device)
            )
            check_finite_loss(loss)
        with hooks.phase("backward"):
            loss.backward()
        losses.append(loss.detach())
        margins.append((chosen - rejected).detach())
        scores.append(micro_scores.detach())
    return torch.stack(losses).sum(), torch.cat(margins), torch.cat(scores)


def of_pairs(weights: Tensor, groups: Sequence[ComparisonGroup]) -> Tensor:
    """Weights of groups [G, n] as weights of their pairs, end to end [N, n]."""
    return weights.repeat_interleave(torch.tensor([len(group.pairs) for group in groups]), dim=0)


def head_scores_of_groups(
    reward_model: ScalarModel, groups: Sequence[ComparisonGroup], *, compute: Precision
) -> Tensor:
    """Every head's scores of all the groups' responses, end to end, fp32 [N, n]."""
    device = reward_model.network.device
    with compute_precision(device, compute):
        return group_head_scores(reward_model, shared_prompt_batch(groups, device))


@torch.no_grad()
def score_groups(
    reward_model: ScalarModel,
    groups: Sequence[ComparisonGroup],
    *,
    micro_batch_size: int,
    compute: Precision,
    hooks: Hooks,
) -> list[list[float]]:
    """Scores of each group's responses, without gradient: means over the heads."""
    by_group = head_scores_by_group(reward_model, groups, micro_batch_size, compute=compute, hooks=hooks)
    return [scores.mean(dim=-1).tolist() for scores in by_group]


@torch.no_grad()
def head_scores_by_group(
    reward_model: ScalarModel,
    groups: Sequence[ComparisonGroup],
    micro_batch_size: int,
    *,
    compute: Precision,
    hooks: Hooks,
) -> list[Tensor]:
    """Every head's scores of each group's K responses, [K, n] each, without gradient."""
    scores: list[Tensor] = []
    for start in range(0, len(groups), micro_batch_size):
        hooks.safe_point()
        micro_batch = groups[start : start + micro_batch_size]
        flat = head_scores_of_groups(reward_model, micro_batch, compute=compute).cpu()
        scores += flat.split([len(group.responses) for group in micro_batch])
    rest_between_passes(reward_model)
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


def centring_offsets(raw_scores: Tensor) -> list[float]:
    """What to take off each head's raw scores [N, n] so that all heads have one mean, the mean over the heads.

    Comparisons leave the zero of each head free; without this, disagreement would measure that.
    """
    means = raw_scores.double().mean(dim=0)
    return (means - means.mean()).tolist()
