"""Occlusion against scorers whose weights are planted, and scores token by token against scores of prefixes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from engine_models import random_rollout, small_model, word_tokenizer
from rlhf_engine.eval.attribution import Unit, occlusion, spans, token_scores, without
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_heads import HeadShape
from rlhf_engine.scalar_models import load_scalar_model, response_scores

WEIGHTS = {"kind": 2.0, "rude": -3.0, "dogs": 0.25, ".": 0.0}


def additive(texts: Sequence[str]) -> list[float]:
    return [1.0 + sum(WEIGHTS[word] for word in text.split()) for text in texts]


def test_of_an_additive_scorer_the_effects_are_the_planted_weights() -> None:
    found = occlusion("kind  dogs rude kind .", additive)
    assert found.pieces == ["kind", "dogs", "rude", "kind", "."]
    assert found.effects == pytest.approx([2.0, 0.25, -3.0, 2.0, 0.0])
    assert found.score == pytest.approx(2.25)
    assert found.most(1) == [("kind", 2.0)]
    assert found.least(5) == [("rude", -3.0)]


def test_sentences_earn_the_sum_of_their_words() -> None:
    found = occlusion("kind dogs . rude kind . dogs", additive, unit="sentence")
    assert found.pieces == ["kind dogs .", "rude kind .", "dogs"]
    assert found.effects == pytest.approx([2.25, -1.0, 0.25])


def test_an_interaction_is_seen_by_both_of_its_words() -> None:
    found = occlusion("not bad", lambda texts: [float("not" in text and "bad" in text) for text in texts])
    assert found.effects == [1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "unit", "left"),
    [
        ("one two three", "word", ["two three", "one three", "one two"]),
        ("One. Two!", "sentence", ["Two!", "One."]),
        ("alone", "word", [""]),
        ("", "word", []),
    ],
)
def test_a_piece_is_left_out_with_one_gap_of_blanks(text: str, unit: Unit, left: list[str]) -> None:
    assert [without(text, span) for span in spans(text, unit)] == left


@pytest.mark.parametrize("shape", [HeadShape(), HeadShape("mlp", "mean"), HeadShape("linear", "mean", 3)], ids=str)
def test_the_score_at_a_token_is_that_of_the_response_cut_there(shape: HeadShape) -> None:
    torch.manual_seed(0)
    model = load_scalar_model(small_model(), word_tokenizer(), torch.device("cpu"), head_shape=shape)
    rollout = random_rollout()
    read = token_scores(model, rollout)
    for row in range(len(rollout)):
        prompt = rollout.prompt_tokens[row][rollout.prompt_mask[row]].tolist()
        response = rollout.response_tokens[row][rollout.response_mask[row]].tolist()
        for end in range(1, len(response) + 1):
            cut = Rollout.of_texts([prompt], [response[:end]], eos_id=0, pad_id=1, device=torch.device("cpu"))
            assert read[row, end - 1] == pytest.approx(float(response_scores(model, cut)[0].detach()), abs=1e-5)
    assert bool((read[~rollout.response_mask] == 0).all())
