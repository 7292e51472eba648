"""Votes of people on pairs of samples, in the store of a folder of runs."""

from __future__ import annotations

import getpass
import os
import random
from collections.abc import Sequence
from pathlib import Path

from rlhf_console.runs.pairs import Side
from rlhf_sdk.events import Sample
from rlhf_sdk.preferences import PreferenceStore, Source, Verdict, Vote, new_vote

ENVIRONMENT = "RLHF_LABELLER"


def labeller_name(chosen: str = "") -> str:
    """Who votes: `chosen`, else $RLHF_LABELLER, else the name that one is logged in by."""
    named = chosen or os.environ.get(ENVIRONMENT, "")
    if named:
        return named
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def source_of(side: Side, sample: Sample) -> Source:
    return Source(policy=side.label, run=side.run_id, tag=sample.tag, step=sample.step, index=sample.index)


class Voting:
    """Votes of the compare screen; knows which pairs of sides have been voted on, by whomever."""

    def __init__(self, root: Path) -> None:
        self._store = PreferenceStore(root)
        self.file = self._store.file
        self._voted: set[tuple[str, frozenset[str]]] = set()

    def refresh(self) -> None:
        """Reads what has been voted since. Raises `OSError` where the file can't be read."""
        if self._store.is_behind:
            self._voted = {(vote.prompt, frozenset(vote.policies)) for vote in self._store.refresh()}

    def has_vote(self, prompt: str, labels: Sequence[str]) -> bool:
        return (prompt, frozenset(labels)) in self._voted

    def vote(
        self, pair: tuple[Sample, Sample], sides: tuple[Side, Side], verdict: Verdict, *, blind: bool, note: str = ""
    ) -> Vote:
        """Keeps a vote on `pair` as it stood. Raises `OSError` where the file can't be written."""
        (left, right), (left_side, right_side) = pair, sides
        vote = new_vote(
            left.prompt,
            (left.response, right.response),
            verdict,
            policies=(left_side.label, right_side.label),
            sources=(source_of(left_side, left), source_of(right_side, right)),
            figures=(left.metrics, right.metrics),
            labeller=labeller_name(),
            blind=blind,
            note=note,
        )
        self._store.append(vote)
        return vote


def is_turned(prompt: str, labels: Sequence[str]) -> bool:
    """Whether the two are shown the other way round when blind: fixed for a prompt, like a coin over prompts."""
    return random.Random(f"{prompt}/{sorted(labels)}").random() < 0.5
