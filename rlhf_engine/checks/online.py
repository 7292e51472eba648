"""Lights of training on the policy's own responses (PPO, RLOO, GRPO), and the figures that only they need."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rlhf_engine.checks.rules import Rule
from rlhf_engine.checks.supervised import GRADIENT_RULES
from rlhf_engine.config import Precision
from rlhf_engine.experience import Experience
from rlhf_engine.masking import masked_mean, masked_var
from rlhf_engine.rollout import Rollout

FEWEST_SCORES = 8
EXTREME_SHARE_OF_RANGE = 0.01

RATIO_LIMITS: dict[Precision, tuple[float, float]] = {
    "float32": (1e-5, 1e-3),
    "bfloat16": (0.1, 0.5),
    "float16": (0.02, 0.5),
}
"""(warn, fail) of max |ratio - 1| on the first minibatch: rows are batched anew, bf16 rounds to 2^-8, fp16 to 2^-11."""

RATIO = Rule(
    name="ratio_on_first_minibatch",
    figure="policy/ratio_max_deviation",
    warn=RATIO_LIMITS["float32"][0],
    fail=RATIO_LIMITS["float32"][1],
    meaning="max |ratio - 1| on each update's first minibatch: old and new log-probabilities of the same weights",
    look_at="dropout, a temperature that is applied in one place only, masks, log-probabilities from generation",
)

KL_AT_START = Rule(
    name="kl_before_first_update",
    figure="kl/token_max_nats",
    fail=0.0,
    to_update=1,
    meaning="max |KL| per token between policy and reference before any weight has changed",
    look_at="whether both are loaded from the same checkpoint, with dropout off and at one temperature",
)

ROLLOUT_RULES = (
    KL_AT_START,
    Rule(
        name="response_masks",
        figure="response/broken_masks",
        fail=0.0,
        meaning="responses without a valid token, or whose mask does not end at their EOS",
        look_at="EOS and PAD of the tokenizer, and the samples of this update",
    ),
    Rule(
        name="eos_rate",
        figure="response/eos_share",
        fires="below",
        warn=0.8,
        fail=0.2,
        meaning="share of responses that end with EOS",
        look_at="response_tokens, whether the SFT data end with EOS, and missing_eos_value",
    ),
    Rule(
        name="entropy_floor",
        figure="policy/entropy_nats",
        fires="below",
        warn=0.05,
        fail=0.01,
        meaning="mean entropy of the policy's next token: near 0 it writes one response and explores nothing",
        look_at="the samples for one text repeated; lower the learning rate or raise kl_coef",
    ),
    Rule(
        name="kl_level",
        figure="kl/sequence_nats",
        warn=50.0,
        fail=100.0,
        meaning="KL to the reference in nats per sequence; over-optimised 1B policies were seen at 50 to 86",
        look_at="gold or judged win rate against KL; raise kl_coef or stop earlier",
    ),
    Rule(
        name="kl_spike",
        figure="kl/sequence_nats",
        warn=3.0,
        fail=10.0,
        judged="over_median",
        least_median=1.0,
        meaning="KL over its running median (at least 1 nat per sequence)",
        look_at="the learning rate, the gradient norm of the update before, and its samples",
    ),
    Rule(
        name="score_spread",
        figure="reward/ended_score_std",
        fires="below",
        warn=0.2,
        fail=0.02,
        judged="over_first",
        meaning="standard deviation of the scores of ended responses, over the first update's",
        look_at="whether responses differ; if they do, the reward model no longer tells them apart",
    ),
    Rule(
        name="score_extremes",
        figure="reward/extreme_share",
        warn=0.5,
        fail=0.8,
        meaning="share of scores within 1 % of the range from the highest or the lowest",
        look_at="the reward model's head and normalisation: does it saturate, or is it constant?",
    ),
)

UPDATE_RULES = (
    Rule(
        name="advantage_moments",
        figure="advantage/moment_error",
        warn=1e-3,
        fail=0.05,
        meaning="max(|mean|, |variance - 1|) of whitened advantages",
        look_at="whether rewards are constant, and the mask that whitening uses",
    ),
    Rule(
        name="clip_fraction",
        figure="policy/clip_fraction",
        warn=0.3,
        fail=0.5,
        meaning="share of tokens whose ratio lies outside the clip range",
        look_at="the ratio on the first minibatch; if that is 1, lower the learning rate or ppo_epochs",
    ),
    Rule(
        name="log_ratio_in_fp16",
        figure="policy/log_ratio_max_nats",
        warn=8.0,
        fail=11.09,
        meaning="max |log ratio| of a token within an update; above 11.09 its exponential overflows in fp16",
        look_at="the learning rate and ppo_epochs; compute in bf16 or fp32",
    ),
    Rule(
        name="value_explained_variance",
        figure="value/explained_variance",
        fires="below",
        warn=0.0,
        fail=-1.0,
        from_update=10,
        meaning="share of the returns' variance that the value model explains; below 0 it is worse than a constant",
        look_at="the value optimizer's learning rate, value_clip_range, and the scale of rewards",
    ),
    Rule(
        name="value_gradient_norm",
        figure="optimizer/value_grad_norm",
        warn=10.0,
        fail=100.0,
        judged="over_median",
        meaning="the value model's gradient norm over its running median",
        look_at="the scale of scores, and max_grad_norm of value_optimizer",
    ),
)


def online_rules(compute: Precision, *, starts_at_reference: bool = True) -> tuple[Rule, ...]:
    """The rules of a run whose matrix products are in `compute`; only at its reference does a policy have no KL."""
    warn, fail = RATIO_LIMITS[compute]
    rollout_rules = [rule for rule in ROLLOUT_RULES if starts_at_reference or rule is not KL_AT_START]
    return (*rollout_rules, replace(RATIO, warn=warn, fail=fail), *UPDATE_RULES, *GRADIENT_RULES)


def broken_masks(rollout: Rollout, eos_id: int) -> Tensor:
    """[B] True where a response has no valid token, a gap in its mask, or a mask that does not end at its only EOS."""
    mask, lengths = rollout.response_mask, rollout.response_lengths
    columns = torch.arange(mask.shape[1], device=mask.device)
    is_eos = (rollout.response_tokens == eos_id) & mask
    last = is_eos & (columns == lengths.unsqueeze(-1) - 1)
    gap = (mask != (columns < lengths.unsqueeze(-1))).any(dim=-1)
    wrong_end = (is_eos.sum(dim=-1) != rollout.ended) | (last.any(dim=-1) != rollout.ended)
    return (lengths == 0) | gap | wrong_end


def extreme_share(scores: Tensor) -> Tensor:
    """Share of scores [N] within 1 % of their range from the highest or the lowest; 1 where all are equal."""
    low, high = scores.min(), scores.max()
    margin = EXTREME_SHARE_OF_RANGE * (high - low)
    return ((scores <= low + margin) | (scores >= high - margin)).float().mean()


def experience_figures(experience: Experience, *, eos_id: int, whitened: bool) -> dict[str, float]:
    """What the lights judge beside an update's metrics; the moments of advantages where they are `whitened`.

    Scores are judged over ended responses (the others' follow the missing-EOS rule), where at least eight ended.
    """
    figures = {"response/broken_masks": float(broken_masks(experience.rollout, eos_id).sum())}
    ended = experience.scores[experience.rollout.ended]
    if len(ended) >= FEWEST_SCORES:
        figures["reward/ended_score_std"] = float(ended.std(correction=0))
        figures["reward/extreme_share"] = float(extreme_share(ended))
    if whitened:
        figures["advantage/moment_error"] = float(moment_error(experience.advantages, experience.response_mask))
    return figures


def moment_error(advantages: Tensor, mask: Tensor) -> Tensor:
    """max(|mean|, |variance - 1|) over valid tokens, both [B, R]."""
    mean, variance = masked_mean(advantages, mask), masked_var(advantages, mask)
    return torch.maximum(mean.abs(), (variance - 1.0).abs())
