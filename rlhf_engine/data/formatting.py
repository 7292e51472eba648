"""From a record to the words that a model reads, and from words to tokens (Huang et al. 2024, details 1 to 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

Template = Literal["tldr", "post", "plain", "dialogue"]
OF_POSTS: tuple[Template, ...] = ("tldr", "post")


def format_prompt(record: Mapping[str, Any], template: Template) -> str:
    """The prompt of a record. tldr: from subreddit, title and post, without a trailing blank; else its `prompt`.

    post: as tldr, of a record without a subreddit or title without that line.
    """
    if template not in OF_POSTS or record.get("prompt"):
        return str(record["prompt"])
    parts = {"SUBREDDIT: r/": "subreddit", "TITLE: ": "title", "POST: ": "post"}
    present = {heading: role for heading, role in parts.items() if template == "tldr" or record.get(role)}
    return "\n\n".join([*(f"{heading}{record[role]}" for heading, role in present.items()), "TL;DR:"])


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids without any special token added."""
    tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokens


def fit_prompt(
    record: Mapping[str, Any], template: Template, tokenizer: PreTrainedTokenizerBase, limit: int
) -> tuple[str, list[int]]:
    """The prompt's words and at most `limit` tokens.

    A post that is too long is cut at its last newline until it fits, then token by token; other templates lose their
    beginning. An empty post after the cut gives no tokens.
    """
    text = format_prompt(record, template)
    tokens = encode(tokenizer, text)
    if len(tokens) <= limit:
        return text, tokens
    if template not in OF_POSTS or record.get("prompt"):
        tokens = tokens[-limit:]
        return str(tokenizer.decode(tokens)), tokens
    post = str(record["post"])
    while len(tokens) > limit:
        post = _shorter(post, len(tokens) - limit, tokenizer)
        if not post:
            return "", []
        text = format_prompt({**record, "post": post}, template)
        tokens = encode(tokenizer, text)
    return text, tokens


def _shorter(post: str, excess: int, tokenizer: PreTrainedTokenizerBase) -> str:
    cut = post.rfind("\n")
    if cut >= 0:
        return post[:cut]
    tokens = encode(tokenizer, post)
    return str(tokenizer.decode(tokens[: -max(excess, 1)])).strip() if len(tokens) > excess else ""


def response_tokens(text: str, tokenizer: PreTrainedTokenizerBase, limit: int) -> list[int]:
    """Tokens of a response: a leading blank, the words, EOS; cut to `limit` tokens, which loses the EOS."""
    eos = tokenizer.eos_token_id
    return [*encode(tokenizer, " " + text.strip()), eos][:limit]
