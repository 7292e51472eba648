"""What `rlhf check` measures of texts and weights: fine as it should be, and telling where a defect is planted."""

from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from engine_models import word_tokenizer
from rlhf_engine.checks.texts import cut_figures, text_figures
from rlhf_engine.checks.weights import (
    end_probability,
    norm_figures,
    padding_error,
    score_figures,
    value_error,
    with_more_padding,
)
from rlhf_engine.data.examples import Demonstration, Prompt
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import response_scores, response_values
from toy_runs import EOS, PAD, batch, prompt_of, response_of, trained_policy, trained_reward_model

ROWS = batch(3, rows=6)


def example(text: str = "w1 w2", response: str = "w3", tokens: list[int] | None = None) -> Demonstration:
    record = {"prompt": text}
    return Demonstration(Prompt("", text, [4, 5], response, record), response, tokens or [6, EOS])


def figures(*examples: Demonstration, tokenizer: Any = None, rows: int = 33) -> dict[str, float]:
    return text_figures(examples, tokenizer or word_tokenizer(), embedding_rows=rows)


def test_good_texts() -> None:
    assert figures(example(), example("w5")) == {
        "text/end_token_usable": 1.0,
        "text/special_share": 0.0,
        "text/changed_share": 0.0,
        "text/boundary_share": 0.0,
    }


def test_an_end_token_within_the_text() -> None:
    assert figures(example(), example(response="w3 <eos> w4"))["text/special_share"] == 0.5


def test_words_that_the_tokenizer_does_not_know() -> None:
    assert figures(example(), example(), example(), example("never seen"))["text/changed_share"] == 0.25


def test_an_end_token_without_embedding_or_equal_to_padding() -> None:
    assert figures(example(), rows=EOS)["text/end_token_usable"] == 0.0
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer().backend_tokenizer, eos_token="<eos>", pad_token="<eos>"
    )
    assert figures(example(), tokenizer=tokenizer)["text/end_token_usable"] == 0.0


def test_a_token_across_the_boundary(monkeypatch: pytest.MonkeyPatch) -> None:
    from rlhf_engine.checks import texts

    def merging(tokenizer: Any, text: str) -> list[int]:
        return [9] if text == "w1 w2 w3" else [1] * len(text.split())

    monkeypatch.setattr(texts, "encode", merging)
    assert figures(example(), example("w5"))["text/boundary_share"] == 0.5


def test_shares_of_what_is_cut() -> None:
    long = Demonstration(Prompt("", "shorter", [4], "w3", {"prompt": "shorter than it was"}), "w3", [6, EOS])
    cut = cut_figures([example(), example(tokens=[6, 7]), long, example()], template="plain", eos_id=EOS)
    assert cut == {"text/prompts_cut_share": 0.25, "text/responses_cut_share": 0.25}


def test_padding_changes_nothing_unless_positions_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = trained_policy(0)

    def score(rows: Rollout) -> torch.Tensor:
        return response_logprobs(policy, rows).detach()

    assert padding_error(score, ROWS) < 1e-5
    monkeypatch.setattr("rlhf_engine.packing.position_ids_of", lambda mask: mask.long().cumsum(-1) * mask.shape[1])
    assert padding_error(score, ROWS) > 1e-3


def test_more_padding_keeps_the_rows() -> None:
    padded = with_more_padding(ROWS)
    assert padded.tokens.shape[1] == ROWS.tokens.shape[1] + 14
    assert torch.equal(padded.trimmed().tokens, ROWS.tokens)


def test_the_probability_of_the_end_is_the_policys() -> None:
    policy = trained_policy(0)
    with torch.no_grad():
        expected = [
            torch.softmax(policy(torch.tensor([prompt_of(row) + response_of(row)[:-1]])).logits[0, -1], dim=0)[EOS]
            for row in range(3000, 3006)
        ]
    assert end_probability(policy, ROWS) == pytest.approx(float(torch.stack(expected).mean()), abs=1e-6)
    endless = Rollout.of_texts([[9]], [[3, 6]], eos_id=EOS, pad_id=PAD, device=torch.device("cpu"))
    assert end_probability(policy, endless) == 0.0


def test_a_critic_is_its_reward_model_only_if_it_is_a_copy() -> None:
    reward_model = trained_reward_model(0)
    scores = response_scores(reward_model, ROWS).detach()
    assert value_error(lambda rows: response_values(reward_model, rows), scores, ROWS, eos_id=EOS) < 1e-5
    other = trained_reward_model(1)
    assert value_error(lambda rows: response_values(other, rows), scores, ROWS, eos_id=EOS) > 0.1


def test_figures_of_scores() -> None:
    scores = torch.tensor([1.0, 3.0, 5.0, 7.0])
    assert score_figures(scores) == {"weights/score_std": pytest.approx(5**0.5), "weights/extreme_share": 0.5}
    assert norm_figures(-scores) == {
        "weights/score_mean": 4.0,
        "weights/score_scale_error": pytest.approx(5**0.5 - 1),
    }
