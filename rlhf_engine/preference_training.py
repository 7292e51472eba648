"""DPO, IPO and KTO: one update of a policy on comparison groups, the prompt computed once for all its responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_engine.backoff import BackOff
from rlhf_engine.config import DPOConfig, IPOConfig, KTOConfig
from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.errors import ConfigError
from rlhf_engine.hooks import Hooks
from rlhf_engine.models import compute_precision
from rlhf_engine.optim import ScheduledAdamW, check_finite_loss
from rlhf_engine.preference_losses import (
    LogRatioReduction,
    dpo_loss,
    ipo_loss,
    kto_loss,
    kto_reference_point,
    sequence_logratios,
)
from rlhf_engine.ranks import ALONE, Ranks
from rlhf_engine.reward_modeling import pair_accuracy, pair_rows
from rlhf_engine.sharding.state import rest_between_passes
from rlhf_engine.shared_prompts import group_logprobs, shared_prompt_batch
from rlhf_engine.shares import of_all_groups

Config = DPOConfig | IPOConfig | KTOConfig


@dataclass
class PreferenceState:
    """Everything that survives a restart; `ref_policy` never changes."""

    policy: PreTrainedModel
    ref_policy: PreTrainedModel
    optimizer: ScheduledAdamW
    backoff: BackOff = field(default_factory=BackOff)
    ranks: Ranks = ALONE


@dataclass(frozen=True)
class ResponseLogProbs:
    """Token log-probabilities of N responses, [N, R], by the policy (with gradient) and by the reference."""

    policy: Tensor
    reference: Tensor
    mask: Tensor

    def ratios(self, config: Config) -> Tensor:
        """[N] log pi(y|x) - log pi_ref(y|x) in nats, summed or averaged over tokens as the config says."""
        return sequence_logratios(self.policy, self.reference, self.mask, reduction=logratio_reduction(config))


@dataclass(frozen=True)
class PreferenceMetrics:
    """Means over the batch's pairs, before the update.

    `reward`: implicit reward beta h(y); `accuracy`: share of pairs whose chosen response has the larger one, ties one
    half; `logprob`: nats per sequence; `margin_max`: the largest |difference of implicit rewards|; `reference_point`:
    KTO's z0 in nats per sequence, 0 for DPO and IPO.
    """

    loss: float
    accuracy: float
    margin: float
    margin_max: float
    chosen_reward: float
    rejected_reward: float
    chosen_logprob: float
    rejected_logprob: float
    reference_point: float
    grad_norm: float
    lr: float
    pairs: int


def preference_update(
    state: PreferenceState, groups: Sequence[ComparisonGroup], config: Config, hooks: Hooks
) -> PreferenceMetrics:
    """One optimizer step on the mean loss over all pairs of the groups, whatever the micro-batch size.

    Raises NonFiniteError before a step that would not be finite, and ConfigError if KTO gets fewer than two groups.
    """
    reference_point = measured_reference_point(state, groups, config, hooks)

    pair_count = sum(len(group.pairs) for group in groups)
    own = [groups[row] for row in state.ranks.own([group.token_count for group in groups])]

    def accumulate(rows: int) -> tuple[Tensor, Tensor]:
        return accumulate_gradients(state, own, pair_count, config, reference_point, hooks, rows)

    with hooks.phase("update"):
        parts = state.backoff.attempt("update", min(config.micro_batch_size, len(own)), accumulate, hooks)
        loss, figures = state.ranks.summed(parts[0]), state.ranks.gathered(parts[1])
        lr = state.optimizer.lr
        with hooks.phase("optimizer"):
            grad_norm = state.optimizer.step()
        rest_between_passes(state.ref_policy)
    return _metrics(loss, figures, reference_point, grad_norm, lr)


def accumulate_gradients(
    state: PreferenceState,
    groups: Sequence[ComparisonGroup],
    pair_count: int,
    config: Config,
    reference_point: Tensor,
    hooks: Hooks,
    micro_batch_size: int,
) -> tuple[Tensor, Tensor]:
    """What these groups add to the mean loss over `pair_count` pairs, with its gradients; `pair_figures` [P, 4].

    `micro_batch_size` groups at a time.
    """
    state.optimizer.drop_gradients()
    losses, figures = [], []
    for micro_batch in micro_batches(groups, micro_batch_size):
        hooks.safe_point()
        with hooks.phase("forward"):
            logprobs = response_logprobs_of(state, micro_batch, config)
            pairs = pair_rows(micro_batch).to(logprobs.mask.device)
            loss = preference_loss(logprobs.ratios(config), pairs, config, reference_point, pair_count)
            check_finite_loss(loss)
        with hooks.phase("backward"):
            loss.backward()
        losses.append(loss.detach())
        figures.append(pair_figures(logprobs, pairs, config))
    return torch.stack(losses).sum(), torch.cat(figures)


def preference_loss(
    logratios: Tensor, pairs: Tensor, config: Config, reference_point: Tensor, pair_count: int
) -> Tensor:
    """The share of `pairs` [P, 2], rows of `logratios` [N], in the mean loss over `pair_count` pairs."""
    chosen, rejected = logratios[pairs].unbind(dim=1)
    if isinstance(config, DPOConfig):
        return dpo_loss(chosen, rejected, beta=config.beta, label_smoothing=config.label_smoothing, count=pair_count)
    if isinstance(config, IPOConfig):
        return ipo_loss(chosen, rejected, beta=config.beta, count=pair_count)
    return kto_loss(
        chosen,
        rejected,
        reference_point,
        beta=config.beta,
        desirable_weight=config.desirable_weight,
        undesirable_weight=config.undesirable_weight,
        count=2 * pair_count,
    )


def logratio_reduction(config: Config) -> LogRatioReduction:
    """Over a response's tokens; only IPO has a choice."""
    return config.ipo_reduction if isinstance(config, IPOConfig) else "sum"


def response_logprobs_of(state: PreferenceState, groups: Sequence[ComparisonGroup], config: Config) -> ResponseLogProbs:
    """Of all the groups' responses, by one forward of each model over the same rows."""
    batch = shared_prompt_batch(groups, state.policy.device)
    with compute_precision(state.policy.device, config.precision.compute):
        with torch.no_grad():
            reference = group_logprobs(state.ref_policy, batch)
        return ResponseLogProbs(group_logprobs(state.policy, batch), reference, batch.response_mask)


@torch.no_grad()
def measured_reference_point(
    state: PreferenceState, groups: Sequence[ComparisonGroup], config: Config, hooks: Hooks
) -> Tensor:
    """KTO's z0 over the whole batch, from each group's responses behind the next group's prompt; else 0."""
    if not isinstance(config, KTOConfig):
        return torch.zeros(())

    with hooks.phase("reference point"):
        return kto_reference_point(
            torch.cat(logratios_of_all(state, mismatched(groups), config, hooks, "reference point"))
        )


def mismatched(groups: Sequence[ComparisonGroup]) -> list[ComparisonGroup]:
    """Each group's responses behind the next group's prompt, the last one's behind the first's.

    Raises ConfigError for fewer than two groups, which have no other prompt.
    """
    if len(groups) < 2:
        raise ConfigError(f"kto.batch_size: {len(groups)}; KTO's z0 needs responses to another prompt, so at least 2")
    following = [*groups[1:], groups[0]]
    return [replace(group, prompt=other.prompt) for group, other in zip(groups, following, strict=True)]


def micro_batches(groups: Sequence[ComparisonGroup], size: int) -> list[list[ComparisonGroup]]:
    """Pieces of at most `size` groups."""
    return [list(groups[start : start + size]) for start in range(0, len(groups), size)]


@torch.no_grad()
def implicit_rewards(
    state: PreferenceState, groups: Sequence[ComparisonGroup], config: Config, hooks: Hooks
) -> list[list[float]]:
    """beta h(y) of each group's responses."""

    ratios = logratios_of_all(state, groups, config, hooks, "implicit rewards")
    return [(config.beta * part).tolist() for part in ratios]


def logratios_of_all(
    state: PreferenceState, groups: Sequence[ComparisonGroup], config: Config, hooks: Hooks, what: str
) -> list[Tensor]:
    """[K] of each group's K responses, on all ranks; `what` it is called where memory runs out."""

    def of_groups(own: list[ComparisonGroup]) -> list[Tensor]:
        def ratios(rows: int) -> list[Tensor]:
            found: list[Tensor] = []
            for micro_batch in micro_batches(own, rows):
                hooks.safe_point()
                flat = response_logprobs_of(state, micro_batch, config).ratios(config)
                found += flat.split([len(group.responses) for group in micro_batch])
            for model in (state.policy, state.ref_policy):
                rest_between_passes(model)
            return found

        return state.backoff.attempt(what, min(config.micro_batch_size, len(own)), ratios, hooks)

    return of_all_groups(state.ranks, groups, of_groups)


@torch.no_grad()
def pair_figures(logprobs: ResponseLogProbs, pairs: Tensor, config: Config) -> Tensor:
    """[P, 4] for each pair: implicit reward of the chosen and of the rejected response, and their log-probabilities."""
    rewards = config.beta * logprobs.ratios(config)
    totals = logprobs.policy.masked_fill(~logprobs.mask, 0.0).sum(dim=-1)
    return torch.cat([rewards[pairs], totals[pairs]], dim=1)


def _metrics(loss: Tensor, figures: Tensor, reference_point: Tensor, grad_norm: float, lr: float) -> PreferenceMetrics:
    chosen, rejected, chosen_logprobs, rejected_logprobs = figures.unbind(dim=1)
    margins = chosen - rejected
    return PreferenceMetrics(
        loss=float(loss),
        accuracy=pair_accuracy(chosen, rejected),
        margin=float(margins.mean()),
        margin_max=float(margins.abs().max()),
        chosen_reward=float(chosen.mean()),
        rejected_reward=float(rejected.mean()),
        chosen_logprob=float(chosen_logprobs.mean()),
        rejected_logprob=float(rejected_logprobs.mean()),
        reference_point=float(reference_point),
        grad_norm=grad_norm,
        lr=lr,
        pairs=len(figures),
    )
