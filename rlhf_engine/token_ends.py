"""Where in a response's text each of its tokens ends."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

UNFINISHED = "\N{REPLACEMENT CHARACTER}"


def token_ends(tokens: Sequence[int], response: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Characters of `response` (as `response_texts` gives it) before the end of each token.

    A token without text of its own (an end token, the first bytes of a character) ends where the one before it does;
    the last one ends with the response.
    """
    whole = str(tokenizer.decode(tokens, skip_special_tokens=True))
    cut = len(whole) - len(whole.lstrip())
    ends = [min(max(end - cut, 0), len(response)) for end in _ends(tokens, tokenizer)]
    return [*ends[:-1], len(response)] if ends else []


def _ends(tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Each token is decoded behind those that made the text before it: some decoders join by what stands there."""
    ends, length, start, read = [], 0, 0, 0
    for end in range(1, len(tokens) + 1):
        before = str(tokenizer.decode(tokens[start:read], skip_special_tokens=True))
        text = str(tokenizer.decode(tokens[start:end], skip_special_tokens=True))
        ends.append(length + len(text.rstrip(UNFINISHED)) - len(before))
        if text != before and not text.endswith(UNFINISHED):
            length, start, read = ends[-1], read, end
    return ends
