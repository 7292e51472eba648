"""What a PPO update reports. Every mean is over valid tokens or episodes only; units are in the names."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rlhf_engine.experience import Experience
from rlhf_engine.losses import probability_ratio
from rlhf_engine.masking import masked_mean, masked_sum, masked_var
from rlhf_engine.optim import ScheduledAdamW


@dataclass
class UpdateStatistics:
    """Sums over an update's micro-batches, kept on the device until the update ends."""

    policy_losses: list[Tensor] = field(default_factory=list)
    value_losses: list[Tensor] = field(default_factory=list)
    clipped_tokens: list[Tensor] = field(default_factory=list)
    value_clipped_tokens: list[Tensor] = field(default_factory=list)
    squared_log_ratios: list[Tensor] = field(default_factory=list)
    tokens: list[Tensor] = field(default_factory=list)
    first_ratio_deviations: list[Tensor] = field(default_factory=list)
    policy_grad_norms: list[float] = field(default_factory=list)
    value_grad_norms: list[float] = field(default_factory=list)
    lr: float = 0.0

    @torch.no_grad()
    def add(
        self,
        micro_batch: Experience,
        logprobs: Tensor,
        values: Tensor,
        policy_loss: Tensor,
        value_loss: Tensor,
        clip_range: float,
        value_clip_range: float,
    ) -> None:
        """Adds one micro-batch, before its gradient step."""
        mask = micro_batch.response_mask
        deviation = (probability_ratio(logprobs, micro_batch.logprobs, mask) - 1.0).abs()
        value_change = (values - micro_batch.values).abs()
        self.policy_losses.append(policy_loss.detach())
        self.value_losses.append(value_loss.detach())
        self.clipped_tokens.append(((deviation > clip_range) & mask).sum())
        self.value_clipped_tokens.append(((value_change > value_clip_range) & mask).sum())
        self.squared_log_ratios.append(masked_sum((logprobs - micro_batch.logprobs).square(), mask))
        self.tokens.append(mask.sum())
        if not self.policy_grad_norms:
            self.first_ratio_deviations.append(deviation.max())

    def end_minibatch(self, policy_optimizer: ScheduledAdamW, value_optimizer: ScheduledAdamW) -> None:
        """Steps both optimizers and keeps what they report."""
        self.lr = policy_optimizer.lr
        self.policy_grad_norms.append(policy_optimizer.step())
        self.value_grad_norms.append(value_optimizer.step())


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(returns - values) / Var(returns) over valid tokens; 0 where the returns are constant."""
    variance = masked_var(returns, mask)
    return torch.where(variance > 0, 1.0 - masked_var(returns - values, mask) / variance.clamp(min=1e-12), 0.0)


@dataclass(frozen=True)
class PPOMetrics:
    """One update's figures under the names that events, charts and docs use."""

    values: dict[str, float]

    @classmethod
    def of(cls, experience: Experience, statistics: UpdateStatistics, *, kl_coef: float) -> PPOMetrics:
        return cls(_rollout_figures(experience) | _update_figures(statistics) | {"kl/coef": kl_coef})


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
        "value/explained_variance": explained_variance(experience.values, experience.returns, mask),
        "response/tokens_mean": mask.sum(dim=-1).float().mean(),
        "response/eos_share": experience.rollout.ended.float().mean(),
    }
    return {name: float(value) for name, value in figures.items()}


def _update_figures(statistics: UpdateStatistics) -> dict[str, float]:
    steps, tokens = len(statistics.policy_grad_norms), float(torch.stack(statistics.tokens).sum())

    def token_share(parts: list[Tensor]) -> float:
        return float(torch.stack(parts).sum()) / max(tokens, 1.0)

    return {
        "loss/policy": float(torch.stack(statistics.policy_losses).sum()) / steps,
        "loss/value": float(torch.stack(statistics.value_losses).sum()) / steps,
        "policy/clip_fraction": token_share(statistics.clipped_tokens),
        "policy/approx_kl_nats": 0.5 * token_share(statistics.squared_log_ratios),
        "policy/ratio_max_deviation": float(torch.stack(statistics.first_ratio_deviations).max()),
        "value/clip_fraction": token_share(statistics.value_clipped_tokens),
        "optimizer/grad_norm": sum(statistics.policy_grad_norms) / steps,
        "optimizer/value_grad_norm": sum(statistics.value_grad_norms) / steps,
        "optimizer/lr": statistics.lr,
    }
