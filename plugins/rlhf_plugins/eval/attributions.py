"""Which words earned the scores of a few responses: the best, the worst, and pairs that the model gets most wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from rlhf_engine.config import EvalConfig
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.data.formatting import response_tokens
from rlhf_engine.eval.attribution import Attribution, occlusion, token_scores
from rlhf_engine.eval.scored_pairs import ScoredPairs
from rlhf_engine.hooks import Hooks
from rlhf_engine.models import compute_precision
from rlhf_engine.reward_modeling import head_scores_by_group
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_heads import ensemble_scores
from rlhf_engine.scalar_models import ScalarModel

VARIANTS_IN_ROW = 16
NAMED_WORDS = 3


@dataclass(frozen=True)
class Example:
    """One response and what earned its score. `tokens` and `token_scores`: the score if read up to there."""

    kind: str
    prompt: str
    text: str
    words: Attribution
    sentences: Attribution
    tokens: list[str]
    token_scores: list[float]

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Example:
        parts = {unit: Attribution(**plain[unit]) for unit in ("words", "sentences")}
        return cls(**{**plain, **parts})


def picked(pairs: ScoredPairs, count: int) -> list[tuple[str, int, bool]]:
    """(kind, pair, whether its chosen response) of the best and worst responses and both sides of the worst pairs."""
    scores = np.stack([pairs.chosen_scores, pairs.rejected_scores])
    order = np.argsort(-scores.flatten(), kind="stable").tolist()
    ranked = [(place % scores.shape[1], place < scores.shape[1]) for place in order]
    best_first = list({(pairs.posts[row], _text(pairs, row, side)): (row, side) for row, side in ranked}.values())
    wrong = np.argsort(pairs.margins)[:count]
    return [
        *(("best", *place) for place in best_first[:count]),
        *(("worst", *place) for place in best_first[::-1][:count]),
        *(
            (f"most wrong {rank}: {side}", int(pair), side == "preferred")
            for rank, pair in enumerate(wrong, 1)
            for side in ("preferred", "rejected")
        ),
    ]


def _text(pairs: ScoredPairs, pair: int, is_chosen: bool) -> str:
    return pairs.pairs[pair].chosen if is_chosen else pairs.pairs[pair].rejected


@dataclass(frozen=True)
class Attributor:
    """Scores texts as the comparisons were scored."""

    reward_model: ScalarModel
    tokenizer: PreTrainedTokenizerBase
    config: EvalConfig
    hooks: Hooks

    def scores(self, prompt: Prompt, texts: Sequence[str]) -> list[float]:
        """Of responses to one prompt, several in a row behind it."""
        parts = [texts[start : start + VARIANTS_IN_ROW] for start in range(0, len(texts), VARIANTS_IN_ROW)]
        groups = [ComparisonGroup(prompt, list(part), [self._tokens(text) for text in part], []) for part in parts]
        by_head = head_scores_by_group(
            self.reward_model, groups, 1, compute=self.config.precision.compute, hooks=self.hooks
        )
        penalty = self.config.ensemble_penalty
        return [score for scores in by_head for score in ensemble_scores(scores, penalty=penalty).tolist()]

    def example(self, kind: str, prompt: Prompt, text: str) -> Example:
        score = partial(self.scores, prompt)
        tokens = self._tokens(text)
        rollout = Rollout.of_texts(
            [prompt.tokens], [tokens], eos_id=self._eos, pad_id=self._eos, device=self.reward_model.network.device
        )
        with compute_precision(rollout.tokens.device, self.config.precision.compute):
            read = token_scores(self.reward_model, rollout)[0].tolist()
        words, sentences = occlusion(text, score), occlusion(text, score, unit="sentence")
        return Example(kind, prompt.text, text, words, sentences, [self._decoded(token) for token in tokens], read)

    @property
    def _eos(self) -> int:
        return int(self.tokenizer.eos_token_id)

    def _tokens(self, text: str) -> list[int]:
        return response_tokens(text, self.tokenizer, self.config.comparisons.max_response_tokens)

    def _decoded(self, token: int) -> str:
        return str(self.tokenizer.decode([token]))


def attributed(pairs: ScoredPairs, groups: Sequence[ComparisonGroup], attributor: Attributor) -> list[Example]:
    """`eval.example_count` examples of each kind."""
    prompts = [group.prompt for group in groups for _ in group.pairs]
    return [
        attributor.example(kind, prompts[pair], _text(pairs, pair, is_chosen))
        for kind, pair, is_chosen in picked(pairs, attributor.config.example_count)
    ]


def attribution_table(examples: Sequence[Example]) -> dict[str, Any]:
    """One row for each example with the words that earned and cost most."""
    rows = [
        [example.kind, words.score, _named(words.most(NAMED_WORDS)), _named(words.least(NAMED_WORDS))]
        for example, words in ((example, example.words) for example in examples)
    ]
    title = "Which words earned the score: the score less the score without the word"
    return {"title": title, "columns": ["response", "score", "earned most", "cost most"], "rows": rows}


def attribution_tables(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """For each example every word, sentence and token."""
    found = []
    for example in examples:
        for unit, part in (("word", example.words), ("sentence", example.sentences)):
            rows = [list(row) for row in zip(part.pieces, part.effects, strict=True)]
            title = f"{example.kind}, score {part.score:.3f}, by {unit}"
            found.append({"title": title, "columns": [unit, "earned"], "rows": rows})
        rows = [list(row) for row in zip(example.tokens, example.token_scores, strict=True)]
        found.append(
            {"title": f"{example.kind}, read token by token", "columns": ["token", "score so far"], "rows": rows}
        )
    return found


def shown(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Posts with these responses, for a run's result."""
    responses: dict[str, dict[str, str]] = {}
    for example in examples:
        responses.setdefault(example.prompt, {})[f"{example.kind} ({example.words.score:.2f})"] = example.text
    return [{"prompt": prompt, "reference": None, "responses": texts} for prompt, texts in responses.items()]


def _named(words: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{word} {effect:+.2f}" for word, effect in words)
