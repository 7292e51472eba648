"""Two PPO updates of TRL, and what our functions make of the same tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from benchmarks.parity.peer import Locals, PeerSettings, as_ours, make_trainer, watched
from rlhf_engine.advantages import generalized_advantages
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.losses import clipped_policy_loss, clipped_value_loss
from rlhf_engine.masking import whiten
from rlhf_engine.rewards import apply_missing_eos_rule, kl_penalized_rewards, sequence_kl, token_kl
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import response_scores, response_values


@dataclass(frozen=True)
class Row:
    """One quantity on both sides: the largest absolute difference, and what was allowed."""

    quantity: str
    difference: float
    tolerance: float
    choice: str = ""

    @property
    def agrees(self) -> bool:
        return self.difference <= self.tolerance


@dataclass
class Comparison:
    """Largest differences over all updates and minibatches; filled from inside TRL's loop."""

    settings: PeerSettings
    eos_id: int
    pad_id: int
    rows: dict[str, Row] = field(default_factory=dict)

    def note(self, quantity: str, ours: Tensor, theirs: Tensor, tolerance: float, choice: str = "") -> None:
        difference = float((ours.double() - theirs.double()).abs().max())
        known = self.rows.get(quantity)
        if known is None or difference > known.difference:
            self.rows[quantity] = Row(quantity, difference, tolerance, choice)

    @torch.no_grad()
    def on_rollout(self, theirs: Locals, advantages: Tensor, whitened: Tensor) -> None:
        rollout = rollout_of(theirs, self.eos_id, self.pad_id)
        mask, with_next = ~theirs["padding_mask"], ~theirs["padding_mask_p1"]
        self.note("response mask", rollout.response_mask, mask, 0.0)
        self.compare_models(theirs, rollout)
        self.compare_rewards(theirs, rollout)
        ours, returns = generalized_advantages(
            theirs["rewards"],
            theirs["values"],
            with_next,
            gamma=self.settings.gamma,
            gae_lambda=self.settings.gae_lambda,
        )
        self.note("advantages (GAE)", ours[with_next], advantages[with_next], 1e-5)
        self.note("returns", returns[with_next], theirs["returns"][with_next], 1e-5)
        count = int(mask.sum())
        self.note(
            "whitened advantages",
            whiten(advantages, mask)[mask] * ((count - 1) / count) ** 0.5,
            whitened[mask],
            1e-5,
            "variance: TRL divides by n - 1, we by n",
        )

    def compare_models(self, theirs: Locals, rollout: Rollout) -> None:
        mask, temperature = rollout.response_mask, self.settings.temperature
        trained = theirs["model"]
        logprobs = response_logprobs(trained.policy, rollout, temperature=temperature)
        ref_logprobs = response_logprobs(theirs["ref_policy"], rollout, temperature=temperature)
        values = response_values(as_ours(trained.value_model), rollout)
        self.note(
            "log-probabilities of the policy",
            logprobs[mask],
            theirs["logprobs"][mask],
            1e-4,
            "TRL keeps those of generation, we compute them again",
        )
        self.note("log-probabilities of the reference", ref_logprobs[mask], theirs["ref_logprobs"][mask], 1e-4)
        self.note("values", values[mask], theirs["values"][mask], 1e-4)
        scores = apply_missing_eos_rule(
            response_scores(as_ours(theirs["reward_model"]), rollout),
            rollout.ended,
            rule="subtract",
            value=self.settings.missing_eos_penalty,
        )
        self.note("scores, with the missing-EOS rule", scores, theirs["scores"], 1e-4)

    def compare_rewards(self, theirs: Locals, rollout: Rollout) -> None:
        mask = rollout.response_mask
        pair = theirs["logprobs"], theirs["ref_logprobs"]
        self.note("KL per token (k1)", token_kl(*pair, mask)[mask], theirs["kl"][mask], 0.0)
        self.note("KL per sequence, mean", sequence_kl(*pair, mask).mean(), theirs["kl"].sum(1).mean(), 1e-5)
        ours = kl_penalized_rewards(theirs["scores"], *pair, mask, self.settings.kl_coef)
        self.note("reward of each response", ours.sum(1), theirs["rewards"].sum(1), 1e-5)
        self.note(
            "reward of each token",
            score_one_later(ours, theirs["scores"], rollout),
            theirs["rewards"],
            1e-5,
            "TRL pays the score at the token after EOS, we at EOS: moved for this row",
        )

    @torch.no_grad()
    def on_loss(self, theirs: Locals) -> None:
        rows = theirs["micro_batch_inds"]
        mask, with_next = ~theirs["padding_mask"][rows], ~theirs["padding_mask_p1"][rows]
        policy_loss = clipped_policy_loss(
            theirs["new_logprobs"],
            theirs["mb_logprobs"],
            theirs["mb_advantage"],
            mask,
            clip_range=self.settings.clip_range,
        )
        value_loss = clipped_value_loss(
            theirs["vpred"],
            theirs["mb_values"],
            theirs["mb_return"],
            with_next,
            value_clip_range=self.settings.clip_range,
        )
        self.note("policy loss", policy_loss, theirs["pg_loss"], 1e-6)
        self.note("value loss", value_loss, theirs["vf_loss"], 1e-6, "over one token more in TRL; given its mask here")


def rollout_of(theirs: Locals, eos_id: int, pad_id: int) -> Rollout:
    queries = theirs["queries"]
    return Rollout.of_samples(queries, queries != pad_id, theirs["responses"], eos_id=eos_id, pad_id=pad_id)


def score_one_later(rewards: Tensor, scores: Tensor, rollout: Rollout) -> Tensor:
    """`rewards` with the score at the token after EOS where there is one."""
    rows, last = torch.arange(len(rewards)), rollout.response_lengths - 1
    later = torch.where(last + 1 < rewards.shape[1], last + 1, last)
    moved = rewards.clone()
    moved[rows, last] -= scores
    moved[rows, later] += scores
    return moved


def update_parity(
    settings: PeerSettings,
    prompts: Sequence[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    **folders: Path,
) -> list[Row]:
    """Rows for everything that an update computes; in the second update policy and reference differ."""
    eos_id, pad_id = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
    comparison = Comparison(settings, eos_id, pad_id)
    trainer: Any = make_trainer(settings, prompts, tokenizer, **folders)
    with watched(comparison.on_rollout, comparison.on_loss):
        trainer.train()
    return list(comparison.rows.values())
