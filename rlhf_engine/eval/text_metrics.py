"""What can be read off a response's words: overlap with a reference, and copying of the title."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from rouge_score.rouge_scorer import RougeScorer

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_ROUGE_L = RougeScorer(["rougeL"], use_stemmer=True)


def words(text: str) -> list[str]:
    """The lower-case words of `text`, without punctuation."""
    return WORD.findall(text.lower())


def rouge_l(reference: str, response: str) -> float:
    """F1 of the longest common subsequence of stemmed words, in [0, 1] (Lin 2004; the package `rouge_score`)."""
    return float(_ROUGE_L.score(reference, response)["rougeL"].fmeasure)


def title_copying(title: str, response: str) -> float:
    """Longest run of words that title and response share, as a share of the title's words; 0 for an empty title."""
    of_title, of_response = words(title), words(response)
    match = SequenceMatcher(None, of_title, of_response, autojunk=False).find_longest_match()
    return match.size / len(of_title) if of_title else 0.0
