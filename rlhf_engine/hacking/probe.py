"""Taking a reading: the policy answers the probe's prompts, and every model says what it thinks of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from msgspec import structs
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf_engine.collecting import OnlineState, policy_logprobs, scores_of
from rlhf_engine.config import OnlineConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.eval.measures import gold_scores
from rlhf_engine.generation import generate_rollout, response_texts
from rlhf_engine.hacking.reading import Reading
from rlhf_engine.hacking.texts import text_columns
from rlhf_engine.hooks import Hooks
from rlhf_engine.models import compute_precision
from rlhf_engine.rewards import apply_missing_eos_rule, sequence_kl
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import ScalarModel
from rlhf_engine.shares import responses_of_all

FIRST_EPISODE: Final = 1 << 48
"""Beyond every episode of training, so that the probe's noise is its own."""


class SecondOpinion(Protocol):
    """What else can judge a response."""

    @property
    def name(self) -> str:
        """What samples and reports call it."""

    def scores(
        self, prompts: Sequence[Prompt], texts: Sequence[str], rollout: Rollout, state: OnlineState,
        config: OnlineConfig, hooks: Hooks,
    ) -> list[float]: ...  # fmt: skip


class Gold:
    """The built-in world's own score."""

    name = "gold"

    def scores(
        self, prompts: Sequence[Prompt], texts: Sequence[str], rollout: Rollout, state: OnlineState,
        config: OnlineConfig, hooks: Hooks,
    ) -> list[float]:  # fmt: skip
        return gold_scores(prompts, texts, rollout.ended.tolist())


@dataclass(frozen=True)
class Heads:
    """Mean less `penalty` times standard deviation of a reward model's heads; of one head, its score."""

    name: str
    reward_model: ScalarModel
    penalty: float

    def scores(
        self, prompts: Sequence[Prompt], texts: Sequence[str], rollout: Rollout, state: OnlineState,
        config: OnlineConfig, hooks: Hooks,
    ) -> list[float]:  # fmt: skip
        penalised = structs.replace(config, ensemble_penalty=self.penalty)
        return _plain(scores_of(state, self.reward_model, rollout, penalised, hooks)[0])


@dataclass(frozen=True)
class Probe:
    """A fixed set of prompts, and who has a second opinion on the answers."""

    prompts: Sequence[Prompt]
    second: SecondOpinion | None
    tokenizer: PreTrainedTokenizerBase

    @torch.no_grad()
    def read(self, state: OnlineState, config: OnlineConfig, hooks: Hooks) -> Reading:
        """No random state moves: the noise is keyed, and the same each time."""
        rollout = self._answers(state, config, hooks)
        texts, mask = response_texts(rollout, self.tokenizer), rollout.response_mask
        policy, reference = state.models.policy, state.models.ref_policy
        logprobs, entropies = policy_logprobs(state, policy, rollout, config, hooks, phase="policy logprobs")
        ref_logprobs, _ = policy_logprobs(state, reference, rollout, config, hooks, phase="reference logprobs")
        raw_scores, _ = scores_of(state, state.models.reward_model, rollout, config, hooks)
        scores = apply_missing_eos_rule(
            raw_scores, rollout.ended, rule=config.missing_eos, value=config.missing_eos_value
        )
        second = self.second.scores(self.prompts, texts, rollout, state, config, hooks) if self.second else []
        titles = [str(prompt.record.get("title") or "") for prompt in self.prompts]
        posts = [str(prompt.record.get("post") or prompt.text) for prompt in self.prompts]
        return Reading(
            step=state.updates_done,
            texts=texts,
            ended=_plain(rollout.ended),
            tokens=_plain(rollout.response_lengths),
            proxy=_plain(scores),
            second=second,
            kl_nats=_plain(sequence_kl(logprobs, ref_logprobs, mask)),
            entropy_nats=_plain(entropies.masked_fill(~mask, 0.0).sum(dim=-1) / rollout.response_lengths),
            beyond_range=_beyond(raw_scores, state.models.reward_model.score_range),
            **text_columns(titles, posts, texts),
        )

    def _answers(self, state: OnlineState, config: OnlineConfig, hooks: Hooks) -> Rollout:
        policy, prompts = state.models.policy, [prompt.tokens for prompt in self.prompts]

        def answers(own: list[int]) -> Rollout:
            def sample(batch_size: int) -> Rollout:
                return generate_rollout(
                    policy,
                    [prompts[row] for row in own],
                    episodes=[FIRST_EPISODE + row for row in own],
                    seed=config.seed,
                    response_tokens=config.response_tokens,
                    temperature=config.temperature,
                    eos_id=state.eos_id,
                    pad_id=state.pad_id,
                    batch_size=batch_size,
                    hooks=hooks,
                )

            return state.backoff.attempt("probe", min(config.rollout_batch_size, len(own)), sample, hooks)

        with compute_precision(policy.device, config.precision.compute):
            return responses_of_all(state.ranks, prompts, state.pad_id, answers)


def _beyond(scores: Tensor, score_range: tuple[float, float] | None) -> list[float]:
    if score_range is None:
        return []
    low, high = score_range
    return [float(not low <= score <= high) for score in scores.tolist()]


def _plain(values: Tensor) -> list[float]:
    return [float(value) for value in values.tolist()]
