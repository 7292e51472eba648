"""What can be read off a response's words: overlap with a reference, copying, repetition; and how varied a set is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words(text: str) -> list[str]:
    """The lower-case words of `text`, without punctuation."""
    return WORD.findall(text.lower())


def rouge_l(reference: str, response: str) -> float:
    """F1 of the longest common subsequence of stemmed words, in [0, 1] (Lin 2004; the package `rouge_score`)."""
    return _rouge("rougeL", reference, response)


def rouge_n(reference: str, response: str, n: int) -> float:
    """F1 of stemmed n-grams, n 1 or 2, in [0, 1] (Lin 2004; the package `rouge_score`)."""
    return _rouge(f"rouge{n}", reference, response)


def _rouge(name: str, reference: str, response: str) -> float:
    return float(_scorer(name).score(reference, response)[name].fmeasure)


@lru_cache
def _scorer(name: str) -> Any:
    # Its stemmer comes with all of nltk, scipy and pandas, which takes a worker that never scores a second to import.
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([name], use_stemmer=True)


def title_copying(title: str, response: str) -> float:
    """Longest run of words that title and response share, as a share of the title's words; 0 for an empty title."""
    of_title, of_response = words(title), words(response)
    match = SequenceMatcher(None, of_title, of_response, autojunk=False).find_longest_match()
    return match.size / len(of_title) if of_title else 0.0


def extractive_fragments(source: str, response: str) -> list[int]:
    """Lengths in words of the runs that the response shares with its source, each as long as can be, left to right.

    Grusky et al. 2018 (Newsroom), figure 3. A word that the source lacks is in no run.
    """
    of_source, of_response = words(source), words(response)
    places: dict[str, list[int]] = {}
    for place, word in enumerate(of_source):
        places.setdefault(word, []).append(place)
    lengths, start = [], 0
    while start < len(of_response):
        longest = max((_run(of_source[p:], of_response[start:]) for p in places.get(of_response[start], ())), default=0)
        lengths += [longest] if longest else []
        start += longest or 1
    return lengths


def _run(these: Sequence[str], those: Sequence[str]) -> int:
    """How many words both begin with."""
    equal = (a == b for a, b in zip(these, those, strict=False))
    return next((count for count, same in enumerate(equal) if not same), min(len(these), len(those)))


def coverage_and_density(source: str, response: str) -> tuple[float, float]:
    """Share of the response's words that lie in shared runs, and the mean length of the run of each word.

    Grusky et al. 2018, equations 1 and 2; (0, 0) for an empty response.
    """
    lengths, total = extractive_fragments(source, response), len(words(response))
    if not total:
        return 0.0, 0.0
    return sum(lengths) / total, sum(length**2 for length in lengths) / total


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """All runs of n words."""
    found = words(text)
    return list(zip(*(islice(found, start, None) for start in range(n)), strict=False))


def repetition(text: str, n: int = 3) -> float:
    """Share of the runs of n words that stood in the text before, in [0, 1)."""
    found = ngrams(text, n)
    return 1.0 - len(set(found)) / len(found) if found else 0.0


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Different n-grams of all texts together, as a share of all their n-grams (Li et al. 2016); 0 without any."""
    found = [run for text in texts for run in ngrams(text, n)]
    return len(set(found)) / len(found) if found else 0.0


def most_shared_phrase(texts: Sequence[str], n: int = 4) -> tuple[str, float]:
    """The run of n words that most texts have, and the share of the texts that have it; ("", 0) without any."""
    having = Counter(run for text in texts for run in set(ngrams(text, n)))
    if not having:
        return "", 0.0
    phrase, count = min(having.items(), key=lambda item: (-item[1], item[0]))
    return " ".join(phrase), count / len(texts)


def edit_diversity(texts: Sequence[str], *, pairs: int = 200, seed: int = 0) -> float:
    """Mean word-level edit distance of two different texts of the set, as a share of the longer one's words, in [0, 1].

    Over all pairs, or `pairs` random ones where there are more; 0 for a single text.
    """
    split = [words(text) for text in texts]
    rows, columns = np.triu_indices(len(split), k=1)
    if not len(rows):
        return 0.0
    chosen = np.random.default_rng(seed).permutation(len(rows))[:pairs]
    return float(np.mean([_relative_distance(split[rows[i]], split[columns[i]]) for i in chosen]))


def _relative_distance(one: Sequence[str], other: Sequence[str]) -> float:
    return edit_distance(one, other) / max(len(one), len(other), 1)


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Fewest insertions, deletions and replacements that turn one sequence into the other (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for count, item in enumerate(one, start=1):
        previous, row[0] = row[0], count
        for place, another in enumerate(other, start=1):
            best = min(previous + (item != another), row[place] + 1, row[place - 1] + 1)
            previous, row[place] = row[place], best
    return row[-1]
