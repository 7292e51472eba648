"""How much of a post's title a response repeats."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
TITLE = re.compile(r"^TITLE:(.*)$", re.MULTILINE)
MEANING = "most copied title: longest run of the title's words, as a share; worked out here"


def title_of(prompt: str) -> str:
    """What stands behind "TITLE:" in a line of the prompt; empty where nothing does."""
    found = TITLE.search(prompt)
    return found.group(1).strip() if found else ""


def title_copy(prompt: str, response: str) -> float:
    """Longest run of words that title and response share, as a share of the title's words; NaN without a title."""
    title, words = (WORD.findall(text.lower()) for text in (title_of(prompt), response))
    if not title:
        return float("nan")
    match = SequenceMatcher(None, title, words, autojunk=False).find_longest_match()
    return match.size / len(title)
