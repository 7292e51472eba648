"""Where tokens end in a response's text, with decoders of several kinds."""

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rlhf_engine.token_ends import token_ends

TEXTS = ["The naïve 🐈 sat , twice .", "日本語 と a cat", " leading and trailing "]


def trained(pre_tokenizer: Any, decoder: Any, alphabet: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoder
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<eos>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


def byte_level() -> PreTrainedTokenizerFast:
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return trained(pieces, decoders.ByteLevel(), pre_tokenizers.ByteLevel.alphabet())


def metaspace() -> PreTrainedTokenizerFast:
    return trained(pre_tokenizers.Metaspace(), decoders.Metaspace(), [])


@pytest.mark.parametrize("make", [byte_level, metaspace])
@pytest.mark.parametrize("text", TEXTS)
def test_the_parts_are_the_tokens_and_together_the_response(make: Any, text: str) -> None:
    tokenizer = make()
    tokens = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    response = tokenizer.decode(tokens, skip_special_tokens=True).strip()
    ends = token_ends(tokens, response, tokenizer)
    assert len(ends) == len(tokens)
    assert ends == sorted(ends)
    assert ends[-1] == ends[-2] == len(response)
    for place in range(len(tokens)):
        whole = tokenizer.decode(tokens[: place + 1], skip_special_tokens=True).lstrip()
        assert whole.startswith(response[: ends[place]])
        assert whole.rstrip("\N{REPLACEMENT CHARACTER}").strip() == response[: ends[place]].strip()


def test_tokens_without_text_end_where_the_one_before_does(tokenizer: Any) -> None:
    words = tokenizer.convert_tokens_to_ids(["w1", "<eos>", "w22", "[PAD]", "w3"])
    assert token_ends(words, "w1 w22 w3", tokenizer) == [2, 2, 6, 6, 9]
    assert token_ends([], "", tokenizer) == []
