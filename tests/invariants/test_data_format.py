"""70 and 72: the words and tokens that a model reads, and what a cache of them depends on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rlhf_engine.config import ColumnConfig, DataConfig
from rlhf_engine.data import cache
from rlhf_engine.data.api import load_demonstrations
from rlhf_engine.data.batching import left_pad
from rlhf_engine.data.cache import cache_key
from rlhf_engine.data.formatting import encode, fit_prompt
from rlhf_engine.data.tokenizers import train_tokenizer
from rlhf_engine.data.world import demonstrations
from rlhf_engine.hooks import NoHooks

LINES = [f"line {number} has a few words of its own" for number in range(60)]
POST = {"subreddit": "advice", "title": "a title", "post": "\n".join(LINES), "summary": "  short  "}
GOLDEN = "SUBREDDIT: r/advice\n\nTITLE: a title\n\nPOST: {}\n\nTL;DR:"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    texts = [GOLDEN.format(row["post"]) for row in demonstrations(60, seed=0)]
    return train_tokenizer([*texts, *LINES], 400, word_level=False)


def test_70_a_post_is_cut_at_its_last_newline_until_the_prompt_fits(tokenizer: Any) -> None:
    """Against trying every number of lines, the most first."""
    text, tokens = fit_prompt(POST, "tldr", tokenizer, 512)
    kept = (GOLDEN.format("\n".join(LINES[:count])) for count in range(len(LINES), 0, -1))
    assert text == next(candidate for candidate in kept if len(encode(tokenizer, candidate)) <= 512)
    assert tokens == encode(tokenizer, text)
    assert len(tokens) <= 512 < len(encode(tokenizer, GOLDEN.format(POST["post"])))


def test_70_prompt_and_response_meet_at_one_blank(tokenizer: Any, tmp_path: Path) -> None:
    """No blank ends the prompt, one begins the response, EOS ends it; tokens of both are tokens of the whole."""
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(POST | {"post": "one line"}) + "\n")
    data = DataConfig(source=[str(file)])
    (example,) = load_demonstrations(data, tokenizer, hooks=NoHooks(), cache_dir=tmp_path / "cache")
    assert example.prompt.text == GOLDEN.format("one line")
    *words, last = example.response_tokens
    assert last == tokenizer.eos_token_id != tokenizer.pad_token_id
    assert tokenizer.decode(words) == " short"
    assert example.prompt.tokens + words == encode(tokenizer, GOLDEN.format("one line") + " short")


def test_70_prompts_are_padded_on_the_left() -> None:
    tokens, mask = left_pad([[5, 6, 7], [8]], 1)
    assert tokens.tolist() == [[5, 6, 7], [1, 1, 8]]
    assert mask.tolist() == [[True, True, True], [False, False, True]]


def test_72_the_cache_depends_on_every_setting_the_tokenizer_the_data_and_the_code(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not on how many bad rows are an error: that is asked of cached data too."""
    file, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    file.write_text(json.dumps(POST) + "\n")
    other.write_text(json.dumps(POST) + "\n")
    base = DataConfig(source=[str(file)])
    changes: dict[str, Any] = {
        "source": [str(other)], "exclude": [str(other)], "split": "test", "template": "plain", "max_rows": 7,
        "columns": ColumnConfig(post="post"), "cleaning": msgspec.structs.replace(base.cleaning, unicode=False),
        "world_seed": 1, "max_prompt_tokens": 99, "max_response_tokens": 9,
    }  # fmt: skip
    assert changes.keys() == set(DataConfig.__struct_fields__) - {"max_bad_share"}
    keys = [cache_key("prompts", base, tokenizer)]
    keys += [cache_key("prompts", msgspec.structs.replace(base, **{k: v}), tokenizer) for k, v in changes.items()]
    keys.append(cache_key("comparisons", base, tokenizer))
    keys.append(cache_key("prompts", base, tokenizer, group_by_prompt=True))
    keys.append(cache_key("prompts", base, train_tokenizer(LINES, 350, word_level=False)))
    monkeypatch.setattr(cache, "code_version", lambda: "another")
    keys.append(cache_key("prompts", base, tokenizer))
    monkeypatch.undo()
    assert cache_key("prompts", msgspec.structs.replace(base, max_bad_share=0.5), tokenizer) == keys[0]
    file.write_text(json.dumps(POST | {"title": "another"}) + "\n")
    keys.append(cache_key("prompts", base, tokenizer))
    assert len(set(keys)) == len(keys)
