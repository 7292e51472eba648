"""Two responses to each prompt, and what a reward model makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_engine.backoff import BackOff
from rlhf_engine.config import ModelConfig, PairsConfig
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.data.formatting import response_tokens
from rlhf_engine.data.tokenizers import check_same_tokens
from rlhf_engine.generation import generate_rollout, response_texts
from rlhf_engine.hooks import Hooks
from rlhf_engine.models import compute_precision, load_policy
from rlhf_engine.order import shuffled_batch
from rlhf_engine.pair_choice import different, margins
from rlhf_engine.reward_modeling import head_scores_by_group
from rlhf_engine.scalar_heads import disagreement
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_sdk.asked_pairs import Pair

POLICY, AGAIN, AGAINST = "policy", "policy again", "against"


@dataclass(frozen=True, kw_only=True)
class PairSampler:
    """What pairs are made of."""

    config: PairsConfig
    prompts: Sequence[Prompt]
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    backoff: BackOff
    hooks: Hooks

    def candidates(self) -> list[Pair]:
        """Two responses to each prompt of this round, where they differ."""
        config = self.config
        rows = shuffled_batch(len(self.prompts), config.prompts, config.round - 1, config.seed)
        policy = self._policy(config.model, "model")
        first = self._responses(policy, rows, place=0)
        other = self._policy(config.against, "against") if config.against.path else policy
        second = self._responses(other, rows, place=1)
        names = (POLICY, AGAINST if config.against.path else AGAIN)
        return [
            Pair(index=rows[i], prompt=self.prompts[rows[i]].text, responses=(first[i], second[i]), policies=names)
            for i in different(first, second)
        ]

    def _policy(self, model: ModelConfig, key: str) -> PreTrainedModel:
        check_same_tokens(self.tokenizer, model.path, f"{key}.path")
        return load_policy(model, self.tokenizer, self.device, key=key).eval().requires_grad_(False)

    def _responses(self, policy: PreTrainedModel, rows: Sequence[int], *, place: int) -> list[str]:
        """One to each prompt; no two rounds and places share noise."""
        config = self.config
        start = (2 * (config.round - 1) + place) * len(rows)

        def sample(batch_size: int) -> list[str]:
            rollout = generate_rollout(
                policy,
                [self.prompts[row].tokens for row in rows],
                episodes=range(start, start + len(rows)),
                seed=config.seed,
                response_tokens=config.response_tokens,
                temperature=config.temperature,
                eos_id=self.tokenizer.eos_token_id,
                pad_id=self.tokenizer.pad_token_id,
                batch_size=batch_size,
                hooks=self.hooks,
            )
            return response_texts(rollout, self.tokenizer)

        with self.hooks.phase("samples"), compute_precision(self.device, config.precision.compute):
            return self.backoff.attempt("samples", min(config.batch_size, len(rows)), sample, self.hooks)

    def head_scores(self, pairs: Sequence[Pair]) -> Tensor:
        """Every head's scores of both responses of each pair, fp32 [N, 2, n]."""
        config = self.config
        check_same_tokens(self.tokenizer, config.reward_model.path, "reward_model.path")
        reward_model = load_scalar_model(config.reward_model, self.tokenizer, self.device, key="reward_model")
        reward_model.eval().requires_grad_(False)
        groups = [self._group(pair) for pair in pairs]

        def score(rows: int) -> Tensor:
            by_pair = head_scores_by_group(
                reward_model, groups, rows, compute=config.precision.compute, hooks=self.hooks
            )
            return torch.stack(by_pair)

        with self.hooks.phase("scores"):
            return self.backoff.attempt("scores", min(config.batch_size, len(groups)), score, self.hooks)

    def _group(self, pair: Pair) -> ComparisonGroup:
        limit = self.config.response_tokens + 1
        tokens = [response_tokens(text, self.tokenizer, limit) for text in pair.responses]
        return ComparisonGroup(self.prompts[pair.index], list(pair.responses), tokens, [])


def with_scores(pairs: Sequence[Pair], head_scores: Tensor) -> list[Pair]:
    """The pairs with the heads' mean scores of `head_scores` [N, 2, n], and their disagreement on the margin."""
    scores = head_scores.mean(dim=-1).tolist()
    spread = disagreement(margins(head_scores)).tolist()
    return [
        msgspec.structs.replace(pair, scores=(first, second), margin=first - second, disagreement=spread[i])
        for i, (pair, (first, second)) in enumerate(zip(pairs, scores, strict=True))
    ]
