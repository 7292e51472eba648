"""Checks of the models that a run starts from, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlhf_engine.checks.online import extreme_share
from rlhf_engine.checks.rules import Rule
from rlhf_engine.data.examples import Demonstration
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.rollout import Rollout

MORE_PADDING = 7

PADDING = Rule(
    name="padding_invariance",
    figure="weights/padding_error",
    warn=1e-5,
    fail=1e-3,
    meaning="max |difference| of what a row gives alone and among longer rows, in fp32",
    look_at='position ids and attention masks under left padding; attention = "eager" rules out a kernel',
)

END_PROBABILITY = Rule(
    name="end_after_reference",
    figure="weights/end_probability",
    fires="below",
    warn=0.01,
    fail=1e-6,
    meaning="mean probability of EOS after a whole reference",
    look_at="whether the SFT data end with EOS, and whether it is the same token here",
)

VALUE_AT_END = Rule(
    name="value_starts_as_score",
    figure="weights/value_error",
    warn=1e-4,
    fail=1e-2,
    meaning="max |V(EOS) - score|: the critic starts as a copy of the reward model",
    look_at="reward_model.path: a checkpoint without a scalar head gets two different new ones",
)

SCORE_RULES = (
    Rule(
        name="scores_differ",
        figure="weights/score_std",
        fires="below",
        warn=1e-2,
        fail=1e-6,
        meaning="standard deviation of the reward model's scores of references",
        look_at="whether reward_model.path is a trained reward model",
    ),
    Rule(
        name="scores_at_extremes",
        figure="weights/extreme_share",
        warn=0.5,
        fail=0.8,
        meaning="share of references' scores within 1 % of the range from the highest or the lowest",
        look_at="the reward model's head and normalisation: does it saturate?",
    ),
)

MEAN_SCORE = Rule(
    name="scores_centred",
    figure="weights/score_mean",
    warn=0.5,
    fail=2.0,
    meaning="|mean score| of what the reward model was normalised on",
    look_at="rm.score_norm and rm.norm_data: are they this run's kind of texts?",
)

SCORE_SCALE = Rule(
    name="scores_standardised",
    figure="weights/score_scale_error",
    warn=0.5,
    fail=0.9,
    meaning="|standard deviation - 1| of the scores of the SFT policy's samples",
    look_at="rm.score_norm and rm.norm_data: are they this run's kind of texts?",
)

WEIGHT_RULES = (PADDING, END_PROBABILITY, *SCORE_RULES, MEAN_SCORE, SCORE_SCALE, VALUE_AT_END)


def padding_error(function: Callable[[Rollout], Tensor], rollout: Rollout) -> float:
    """max |difference| of `function`, [B] or [B, R], between each row alone and all of them among more padding."""
    together = function(with_more_padding(rollout))
    errors = []
    for row in range(len(rollout)):
        alone = function(rollout.rows(torch.tensor([row], device=rollout.tokens.device)))[0]
        errors.append((together[row] - alone if alone.ndim == 0 else together[row, : len(alone)] - alone).abs().max())
    return float(torch.stack(errors).max())


def with_more_padding(rollout: Rollout, columns: int = MORE_PADDING) -> Rollout:
    """The same rows with `columns` more of padding on either side."""
    return replace(
        rollout,
        prompt_tokens=F.pad(rollout.prompt_tokens, (columns, 0)),
        prompt_mask=F.pad(rollout.prompt_mask, (columns, 0)),
        response_tokens=F.pad(rollout.response_tokens, (0, columns)),
        response_mask=F.pad(rollout.response_mask, (0, columns)),
    )


@torch.no_grad()
def end_probability(policy: nn.Module, rollout: Rollout) -> float:
    """Mean of pi(EOS | all words of the response) over the rows that end; 0 where none does."""
    logprobs = response_logprobs(policy, rollout)
    last = logprobs.gather(1, (rollout.response_lengths - 1).unsqueeze(1)).squeeze(1)
    ended = last[rollout.ended]
    return float(ended.exp().mean()) if len(ended) else 0.0


@torch.no_grad()
def value_error(values: Callable[[Rollout], Tensor], scores: Tensor, rollout: Rollout, *, eos_id: int) -> float:
    """max |V(s) - score| for s the state behind each response's last token; `values` as of `response_values`."""
    lengths = rollout.response_lengths
    columns = torch.arange(rollout.response_tokens.shape[1] + 1, device=lengths.device)
    longer = replace(
        rollout,
        response_tokens=F.pad(rollout.response_tokens, (0, 1)).scatter(1, lengths.unsqueeze(1), eos_id),
        response_mask=columns <= lengths.unsqueeze(1),
    )
    behind = values(longer).gather(1, lengths.unsqueeze(1)).squeeze(1)
    return float((behind - scores).abs().max())


def score_figures(scores: Tensor) -> dict[str, float]:
    """What SCORE_RULES judge of scores [N] of references."""
    return {
        "weights/score_std": float(scores.std(correction=0)),
        "weights/extreme_share": float(extreme_share(scores)),
    }


def norm_figures(scores: Tensor) -> dict[str, float]:
    """What MEAN_SCORE and SCORE_SCALE judge of scores [N] of what the normalisation was made on."""
    return {
        "weights/score_mean": float(scores.mean().abs()),
        "weights/score_scale_error": float((scores.std(correction=0) - 1.0).abs()),
    }


def rollout_of(examples: Sequence[Demonstration], *, eos_id: int, pad_id: int, device: torch.device) -> Rollout:
    """Prompts with their given responses."""
    return Rollout.of_texts(
        [example.prompt.tokens for example in examples],
        [example.response_tokens for example in examples],
        eos_id=eos_id,
        pad_id=pad_id,
        device=device,
    )
