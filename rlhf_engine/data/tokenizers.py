"""Tokenizers: loaded from a directory or hub id, or trained on the data; EOS and PAD made sure of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rlhf_engine.config import TokenizerConfig
from rlhf_engine.errors import ConfigError, hub_advice

TRAINED_EOS = "<|endoftext|>"
WORDS_AND_HEADINGS = r"\n\n[A-Z;]+:| ?[^\s]+|\s"
USUAL_EOS = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>")


def load_tokenizer(
    config: TokenizerConfig, model_path: str, training_texts: Callable[[], Iterable[str]]
) -> PreTrainedTokenizerBase:
    """The tokenizer at `config.path`, else at `model_path`, else one trained on `training_texts`.

    Raises ConfigError if there is none, if it has no EOS, or if PAD is EOS.
    """
    path = config.path or model_path
    if path:
        tokenizer = _from_path(path)
    elif config.train_vocab_size:
        tokenizer = train_tokenizer(training_texts(), config.train_vocab_size, word_level=config.word_level_split)
    else:
        raise ConfigError("tokenizer: none given; set tokenizer.path, model.path, or tokenizer.train_vocab_size")
    return _with_end_and_padding(tokenizer, config, path)


def _from_path(path: str) -> PreTrainedTokenizerBase:
    file = Path(path) / "tokenizer.json"
    try:
        if file.exists() and not (file.parent / "tokenizer_config.json").exists():
            return PreTrainedTokenizerFast(tokenizer_file=str(file))
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises nothing narrower
        if Path(path).exists():
            reason = str(error).splitlines()[0]
            raise ConfigError(f"tokenizer: {path!r} can't be loaded: {reason}") from None
        raise ConfigError(f"tokenizer: {path!r} can't be loaded: {hub_advice(path, error)}") from None
    return tokenizer


def train_tokenizer(texts: Iterable[str], vocab_size: int, *, word_level: bool) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocab_size`. Where `word_level`, words are split on blanks only."""
    tokenizer = Tokenizer(models.BPE())
    split: Any = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if word_level:
        words = pre_tokenizers.Split(Regex(WORDS_AND_HEADINGS), "isolated")
        split = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        special_tokens=[TRAINED_EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=TRAINED_EOS)


def _with_end_and_padding(
    tokenizer: PreTrainedTokenizerBase, config: TokenizerConfig, path: str
) -> PreTrainedTokenizerBase:
    vocabulary = tokenizer.get_vocab()
    eos = config.eos_token or tokenizer.eos_token or next((token for token in USUAL_EOS if token in vocabulary), None)
    if eos is None or eos not in vocabulary:
        raise ConfigError(
            f"tokenizer.eos_token: {config.eos_token!r} is not in the vocabulary of {path!r}; a tokenizer without an "
            "end token can't end a response: name one of its tokens"
        )
    tokenizer.eos_token = eos
    if config.pad_token == eos:
        raise ConfigError(f"tokenizer.pad_token: {config.pad_token!r} is the end token; choose another, such as [PAD]")
    if tokenizer.pad_token is None or tokenizer.pad_token == eos:
        tokenizer.add_special_tokens({"pad_token": AddedToken(config.pad_token, special=True)})
    return tokenizer


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, embedding_rows: int) -> None:
    """Raises ConfigError if a token other than PAD has no row in the embedding. PAD is never embedded."""
    vocabulary = tokenizer.get_vocab()
    largest = max((index, token) for token, index in vocabulary.items() if token != tokenizer.pad_token)
    if largest[0] >= embedding_rows:
        raise ConfigError(
            f"tokenizer: token {largest[1]!r} has id {largest[0]}, but the model embeds {embedding_rows}; "
            "use the model's own tokenizer"
        )


SAME_SFT_POLICY = "one reads what the other writes, so both must come from the same SFT policy"


def check_same_tokens(
    tokenizer: PreTrainedTokenizerBase, path: str, key: str, *, because: str = SAME_SFT_POLICY
) -> None:
    """Raises ConfigError, naming `key`, if the tokenizer at `path` gives a token another id; PAD may differ.

    A directory without a tokenizer says nothing, and neither does a hub id whose tokenizer can't be had.
    """
    if Path(path).exists() and not (Path(path) / "tokenizer.json").is_file():
        return
    try:
        theirs = _from_path(path).get_vocab()
    except ConfigError:
        return
    ours = tokenizer.get_vocab()
    for token, index in ours.items():
        if token != tokenizer.pad_token and theirs.get(token) != index:
            found = f"{token!r} is {index} here, {theirs.get(token)} there"
            raise ConfigError(f"{key}: {path!r} has another tokenizer: {found}; {because}")
