"""What people said of two texts on one post: choices with whoever made them, and ratings, as labels of pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import msgspec
from transformers import PreTrainedTokenizerBase

from rlhf_engine.config import DataConfig
from rlhf_engine.data.cleaning import normalized_post
from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.formatting import fit_prompt
from rlhf_engine.data.records import UNDECIDED, Plain, has_prompt, records
from rlhf_engine.data.report import DataReport
from rlhf_engine.hooks import Hooks

Kind = Literal["choice", "rating"]
LABELLERS = ("labeller", "worker", "annotator")
RATINGS = ("overall", "rating")
MEAN = "mean of ratings"
"""Stands for the labeller where only a text's mean rating is known."""
REPORT_EVERY = 1000


@dataclass(frozen=True)
class TextPair:
    """Two texts on one post, in an order that says nothing of them; no `prompt` where the post's words aren't known."""

    post: str
    first: str
    second: str
    prompt: Prompt | None


@dataclass(frozen=True)
class Label:
    """Somebody's word on pair number `pair`: 1 for its first text, 0 for its second, one half for neither.

    `labeller` is empty where it is not known who it was.
    """

    pair: int
    kind: Kind
    labeller: str
    credit: float


@dataclass
class People:
    """Pairs in order of first appearance, and every label of them; a labeller's later words on a pair don't count."""

    pairs: list[TextPair] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    report: DataReport = field(default_factory=DataReport)
    _places: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _spoken: set[tuple[int, Kind, str]] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.pairs)

    def add(self, post: str, texts: tuple[str, str], prompt: Prompt | None, word: tuple[Kind, str, float]) -> None:
        """`word`: kind, labeller, and the credit of the first of `texts`."""
        first, second = sorted(texts, key=_digest)
        pair = self._places.setdefault((post, first, second), len(self.pairs))
        if pair == len(self.pairs):
            self.pairs.append(TextPair(post, first, second, prompt))
        kind, labeller, credit = word
        if labeller and (pair, kind, labeller) in self._spoken:
            return
        self._spoken.add((pair, kind, labeller))
        self.labels.append(Label(pair, kind, labeller, credit if first == texts[0] else 1.0 - credit))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()


def load_people(config: DataConfig, tokenizer: PreTrainedTokenizerBase, *, hooks: Hooks) -> People:
    """Choices (chosen and rejected, or two `summaries` and `choice`; perhaps `votes`, labeller, mean ratings), votes of
    the console, and ratings of single texts (`overall` or `rating`): two different ones by one labeller make a label.

    Raises DataError if the data can't be used.
    """
    people, ratings = People(), dict[tuple[str, str], dict[str, float]]()
    alike = msgspec.structs.replace(config, cleaning=msgspec.structs.replace(config.cleaning, duplicates=False))
    for file, number, record in records(alike, people.report, (), "people's words"):
        if people.report.read % REPORT_EVERY == 0:
            hooks.progress("people's words", people.report.read)
            hooks.safe_point()
        post, rating = _post(record), next((record[name] for name in RATINGS if name in record), None)
        words = list(_words(record))
        if words:
            prompt = _prompt(record, alike, tokenizer)
            for texts, word in words:
                people.add(post, texts, prompt, word)
        elif isinstance(rating, int | float) and isinstance(record.get("summary"), str):
            ratings.setdefault((post, _labeller(record)), {})[record["summary"]] = float(rating)
        else:
            people.report.skip(file, number, "neither a choice between two texts nor a rating", record.get("id", ""))
            continue
        people.report.kept += 1
    _add_ratings(people, ratings)
    people.report.check(config.max_bad_share)
    return people


def _words(record: Plain) -> Iterator[tuple[tuple[str, str], tuple[Kind, str, float]]]:
    """Two texts, and what was said of them, as often as it was said."""
    chosen, rejected, labeller = record.get("chosen"), record.get("rejected"), _labeller(record)
    if isinstance(chosen, str) and isinstance(rejected, str) and chosen != rejected:
        for credit, count in zip((1.0, 0.0), record.get("votes") or (1, 0), strict=True):
            for _ in range(count):
                yield (chosen, rejected), ("choice", labeller, credit)
        ours, theirs = record.get("ratings") or (None, None)
        if ours is not None and theirs is not None and ours != theirs:
            yield (chosen, rejected), ("rating", MEAN, float(ours > theirs))
    elif record.get("verdict") in UNDECIDED:
        left, right = record["responses"]
        yield (left, right), ("choice", labeller, 0.5)


def _add_ratings(people: People, ratings: dict[tuple[str, str], dict[str, float]]) -> None:
    for (post, labeller), by_text in ratings.items():
        for (one, rating), (other, another) in combinations(by_text.items(), 2):
            if rating != another:
                people.add(post, (one, other), None, ("rating", labeller, float(rating > another)))


def _post(record: Plain) -> str:
    return str(record.get("post_id") or normalized_post(record))


def _labeller(record: Plain) -> str:
    return next((str(record[name]) for name in LABELLERS if record.get(name) is not None), "")


def _prompt(record: Plain, config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> Prompt | None:
    if not has_prompt(record, config):
        return None
    text, tokens = fit_prompt(record, config.template, tokenizer, config.max_prompt_tokens)
    plain: dict[str, Any] = dict(record)
    return Prompt(str(record.get("id", "")), text, tokens, None, plain) if tokens else None
