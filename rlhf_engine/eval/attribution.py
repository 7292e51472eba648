"""Which words earned a score: what is lost when a piece of the response is left out, and the score token by token."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rlhf_engine.packing import scattered
from rlhf_engine.rollout import Rollout
from rlhf_engine.rollout_states import states_of_responses
from rlhf_engine.scalar_models import ScalarModel

WORDS = re.compile(r"\S+")
SENTENCES = re.compile(r"\S(?:.*?[.!?…]+(?=\s|$)|.*$)", re.DOTALL)

Unit = Literal["word", "sentence"]


@dataclass(frozen=True)
class Attribution:
    """`effects[i]` is the score less the score without `pieces[i]`: what that piece earned."""

    pieces: list[str]
    effects: list[float]
    score: float

    def most(self, count: int) -> list[tuple[str, float]]:
        """The `count` pieces that earned most, of those that earned anything."""
        ranked = sorted(zip(self.pieces, self.effects, strict=True), key=lambda piece: -piece[1])
        return [(piece, effect) for piece, effect in ranked[:count] if effect > 0]

    def least(self, count: int) -> list[tuple[str, float]]:
        """The `count` pieces that cost most, of those that cost anything."""
        ranked = sorted(zip(self.pieces, self.effects, strict=True), key=lambda piece: piece[1])
        return [(piece, effect) for piece, effect in ranked[:count] if effect < 0]


def spans(text: str, unit: Unit) -> list[tuple[int, int]]:
    """(start, end) of the words (runs of non-blanks) or sentences of `text`; blanks between them are in none."""
    pattern = WORDS if unit == "word" else SENTENCES
    return [match.span() for match in pattern.finditer(text)]


def without(text: str, span: tuple[int, int]) -> str:
    """`text` without a piece and the blanks before it (after it, where it comes first)."""
    before, after = text[: span[0]].rstrip(), text[span[1] :]
    return before + after if before else after.lstrip()


def occlusion(text: str, score: Callable[[Sequence[str]], Sequence[float]], *, unit: Unit = "word") -> Attribution:
    """Each piece's effect: the score of `text` less the score without the piece (Zeiler and Fergus 2014, occlusion).

    `score` maps texts to scores and is called once. Of a score that adds up weights of words the effects are the
    weights; of one with interactions they need not add up to the score.
    """
    places = spans(text, unit)
    full, *others = score([text, *(without(text, place) for place in places)])
    return Attribution([text[start:end] for start, end in places], [full - other for other in others], full)


@torch.no_grad()
def token_scores(reward_model: ScalarModel, rollout: Rollout) -> Tensor:
    """The score if the response were read up to each of its tokens, fp32 [B, R]: the mean over the heads.

    The last valid token's is the response's score; 0 outside `response_mask`. No label was about one before EOS.
    """
    mask = rollout.response_mask
    states = scattered(states_of_responses(reward_model, rollout), mask)
    if reward_model.head_shape.pooling == "mean":
        summed = states.float().cumsum(dim=1)
        states = summed / torch.arange(1, states.shape[1] + 1, device=states.device).unsqueeze(-1)
    return reward_model.head(states).masked_fill(~mask, 0.0)
