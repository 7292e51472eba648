"""What an online update reports. Every mean is over valid tokens or episodes only; units are in the names."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rlhf_engine.config import OnlineConfig
from rlhf_engine.experience import Experience, PPOExperience
from rlhf_engine.losses import probability_ratio
from rlhf_engine.masking import masked_mean, masked_sum, masked_var
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ranks import Ranks


@dataclass
class UpdateStatistics:
    """Sums over an update's micro-batches, kept on the device until the update ends.

    `kl_limit` is in nats per token: half the mean squared log-ratio (k2) of a minibatch to the policy that sampled it.
    """

    kl_limit: float = math.inf
    planned_minibatches: int = 1
    minibatches: int = 0
    losses: defaultdict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    clipped_tokens: list[Tensor] = field(default_factory=list)
    value_clipped_tokens: list[Tensor] = field(default_factory=list)
    squared_log_ratios: list[Tensor] = field(default_factory=list)
    largest_log_ratios: list[Tensor] = field(default_factory=list)
    tokens: list[Tensor] = field(default_factory=list)
    minibatch_start: int = 0
    first_ratio_deviations: list[Tensor] = field(default_factory=list)
    policy_grad_norms: list[float] = field(default_factory=list)
    value_grad_norms: list[float] = field(default_factory=list)
    lr: float = 0.0

    @classmethod
    def of(cls, config: OnlineConfig) -> UpdateStatistics:
        return cls(config.update_kl_limit_nats_per_token or math.inf, config.ppo_epochs * config.minibatches)

    def forget_unfinished_minibatch(self) -> None:
        """Leaves what the finished minibatches added: this one begins anew."""
        start = self.minibatch_start
        lists = [self.clipped_tokens, self.value_clipped_tokens, self.squared_log_ratios, self.largest_log_ratios]
        for parts in (*lists, self.tokens, *self.losses.values()):
            del parts[start:]
        if not self.minibatches:
            self.first_ratio_deviations.clear()

    @torch.no_grad()
    def add(
        self, micro_batch: Experience, logprobs: Tensor, losses: Mapping[str, Tensor], *, clip_range: float
    ) -> None:
        """Adds one micro-batch's policy and its terms of the loss, before the gradient step."""
        mask = micro_batch.response_mask
        log_ratios = (logprobs - micro_batch.logprobs).masked_fill(~mask, 0.0)
        deviation = (probability_ratio(logprobs, micro_batch.logprobs, mask) - 1.0).abs()
        for name, loss in losses.items():
            self.losses[name].append(loss.detach())
        self.clipped_tokens.append(((deviation > clip_range) & mask).sum())
        self.squared_log_ratios.append(masked_sum(log_ratios.square(), mask))
        self.largest_log_ratios.append(log_ratios.abs().max())
        self.tokens.append(mask.sum())
        if not self.minibatches:
            self.first_ratio_deviations.append(deviation.max())

    @torch.no_grad()
    def add_values(self, micro_batch: PPOExperience, values: Tensor, *, value_clip_range: float) -> None:
        """Adds one micro-batch's critic."""
        change = (values - micro_batch.values).abs()
        self.value_clipped_tokens.append(((change > value_clip_range) & micro_batch.response_mask).sum())

    def share(self, ranks: Ranks) -> None:
        """What this rank added of the minibatch becomes what all ranks did."""
        if ranks.size == 1:
            return
        sums = [self.clipped_tokens, self.value_clipped_tokens, self.squared_log_ratios, self.tokens]
        for parts in (*sums, *self.losses.values()):
            if parts:
                parts[self.minibatch_start :] = [ranks.summed(torch.stack(parts[self.minibatch_start :]).sum())]
        largest = torch.stack(self.largest_log_ratios[self.minibatch_start :]).max()
        self.largest_log_ratios[self.minibatch_start :] = [ranks.largest(largest)]
        if not self.minibatches:
            self.first_ratio_deviations[:] = [ranks.largest(torch.stack(self.first_ratio_deviations).max())]

    def end_minibatch(self, policy_optimizer: ScheduledAdamW, value_optimizer: ScheduledAdamW | None = None) -> bool:
        """Steps the optimizers and keeps what they report.

        False, and no step, where the policy has moved beyond `kl_limit`: the update is over. The steps left out count
        for the learning rate, which stays a function of the update.
        """
        self.lr = policy_optimizer.lr
        optimizers = [policy_optimizer] if value_optimizer is None else [policy_optimizer, value_optimizer]
        beyond_limit = self._minibatch_kl() > self.kl_limit
        if beyond_limit:
            for optimizer in optimizers:
                optimizer.skip(self.planned_minibatches - self.minibatches)
        else:
            norms = [optimizer.step() for optimizer in optimizers]
            self.policy_grad_norms.append(norms[0])
            self.value_grad_norms += norms[1:]
        self.minibatches += 1
        self.minibatch_start = len(self.tokens)
        return not beyond_limit

    def _minibatch_kl(self) -> float:
        parts = slice(self.minibatch_start, None)
        squares, tokens = torch.stack(self.squared_log_ratios[parts]).sum(), torch.stack(self.tokens[parts]).sum()
        return 0.5 * float(squares / tokens.clamp(min=1))


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(returns - values) / Var(returns) over valid tokens; 0 where the returns are constant."""
    variance = masked_var(returns, mask)
    return torch.where(variance > 0, 1.0 - masked_var(returns - values, mask) / variance.clamp(min=1e-12), 0.0)


@dataclass(frozen=True)
class UpdateMetrics:
    """One update's figures under the names that events, charts and docs use."""

    values: dict[str, float]

    @classmethod
    def of(cls, experience: Experience, statistics: UpdateStatistics, *, kl_coef: float) -> UpdateMetrics:
        figures = _rollout_figures(experience) | _update_figures(statistics) | {"kl/coef": kl_coef}
        if isinstance(experience, PPOExperience):
            figures |= _value_figures(experience, statistics)
        return cls(figures)


def _rollout_figures(experience: Experience) -> dict[str, float]:
    mask, sequence_kl = experience.response_mask, experience.sequence_kl
    token_kl = (experience.logprobs - experience.ref_logprobs).masked_fill(~mask, 0.0)
    figures = {
        "reward/score_mean": experience.scores.mean(),
        "reward/score_std": experience.scores.std(correction=0),
        "reward/total_mean": experience.rewards.masked_fill(~mask, 0.0).sum(dim=-1).mean(),
        "kl/sequence_nats": sequence_kl.mean(),
        "kl/token_nats": masked_mean(token_kl, mask),
        "kl/token_max_nats": token_kl.abs().max(),
        "policy/entropy_nats": experience.mean_entropy,
        "response/tokens_mean": mask.sum(dim=-1).float().mean(),
        "response/eos_share": experience.rollout.ended.float().mean(),
    }
    if experience.disagreements.any():
        figures["reward/disagreement"] = experience.disagreements.mean()
    return {name: float(value) for name, value in figures.items()}


def _update_figures(statistics: UpdateStatistics) -> dict[str, float]:
    losses = {f"loss/{name}": _sum(parts) / statistics.minibatches for name, parts in statistics.losses.items()}
    return losses | {
        "policy/clip_fraction": _token_share(statistics, statistics.clipped_tokens),
        "policy/approx_kl_nats": 0.5 * _token_share(statistics, statistics.squared_log_ratios),
        "policy/log_ratio_max_nats": float(torch.stack(statistics.largest_log_ratios).max()),
        "policy/ratio_max_deviation": float(torch.stack(statistics.first_ratio_deviations).max()),
        "optimizer/grad_norm": _mean(statistics.policy_grad_norms),
        "optimizer/lr": statistics.lr,
        "optimizer/steps_in_update": float(len(statistics.policy_grad_norms)),
    }


def _value_figures(experience: PPOExperience, statistics: UpdateStatistics) -> dict[str, float]:
    explained = explained_variance(experience.values, experience.returns, experience.response_mask)
    return {
        "value/explained_variance": float(explained),
        "value/clip_fraction": _token_share(statistics, statistics.value_clipped_tokens),
        "optimizer/value_grad_norm": _mean(statistics.value_grad_norms),
    }


def _sum(parts: list[Tensor]) -> float:
    return float(torch.stack(parts).sum())


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / max(len(numbers), 1)


def _token_share(statistics: UpdateStatistics, parts: list[Tensor]) -> float:
    return _sum(parts) / max(_sum(statistics.tokens), 1.0)
