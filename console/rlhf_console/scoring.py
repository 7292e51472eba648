"""What a reward model says of pairs, asked of a process that may import torch."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rlhf_console.answers import answers
from rlhf_console.runs.agreement import Figure
from rlhf_console.runs.label_pairs import SCORE, Pair
from rlhf_sdk.preferences import Vote


def scored_pairs(pairs: Sequence[Pair], run: str, root: Path) -> list[Pair]:
    """With the scores of a reward model's run, and the disagreement of its heads where it has several.

    Raises `UserError` where the run has no such model, and `RunFailure` where scoring breaks.
    """
    texts = [(pair.prompt, response) for pair in pairs for response in pair.responses]
    heads = list(head_scores(texts, run, root))
    return [_scored(pair, *two) for pair, two in zip(pairs, zip(heads[::2], heads[1::2], strict=True), strict=True)]


def _scored(pair: Pair, first: list[float], second: list[float]) -> Pair:
    margins = [other - one for one, other in zip(first, second, strict=True)]
    ours, theirs = pair.figures
    figures = {**ours, SCORE: statistics.fmean(first)}, {**theirs, SCORE: statistics.fmean(second)}
    disagreement = statistics.pstdev(margins) if len(margins) > 1 else None
    return replace(pair, figures=figures, disagreement=disagreement)


def figure_of_run(votes: Sequence[Vote], run: str, root: Path) -> Figure:
    """What a reward model's run says of the votes' responses; raises as `scored_pairs` does."""
    texts = [(vote.prompt, response) for vote in votes for response in vote.responses]
    found = {text: statistics.fmean(heads) for text, heads in zip(texts, head_scores(texts, run, root), strict=True)}
    return lambda vote: (found[vote.prompt, vote.responses[0]], found[vote.prompt, vote.responses[1]])


def head_scores(texts: Sequence[tuple[str, str]], run: str, root: Path) -> Iterator[list[float]]:
    """Of each (prompt, response), by every head of the run's reward model."""
    for answer in answers("rlhf_sdk.scoring", run, {"texts": texts}, root, f"scoring by run {run}"):
        yield answer["scores"]
