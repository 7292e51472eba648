"""People's verdicts on pairs of responses, kept so that a reward model can be trained on them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from rlhf_sdk.events import Sample
from rlhf_sdk.files import PRIVATE_FILE
from rlhf_sdk.tail import Tail

Verdict = Literal["left", "right", "tie", "both_bad"]
FILE = "preferences.jsonl"


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `preferences.jsonl`; `chosen` and `rejected` are there where one response was better.

    `policies` names run and policy of each of the `responses`, in the order in which they stood; `blind`: whoever voted
    did not see which was which.
    """

    prompt: str
    chosen: str | None
    rejected: str | None
    verdict: str
    responses: list[str]
    policies: list[str]
    blind: bool
    note: str
    time: float


class Voting:
    """Writes votes to one file in the run folder, and knows what was voted on before."""

    def __init__(self, root: Path) -> None:
        self.file = root / FILE
        self._votes = Tail(self.file, msgspec.json.Decoder(Vote).decode)
        self._voted: set[tuple[str, frozenset[str]]] = set()

    def refresh(self) -> None:
        """Reads what has been voted since. Raises `OSError` where the file can't be read."""
        self._voted.update((vote.prompt, frozenset(vote.policies)) for vote in self._votes.read())

    def has_vote(self, prompt: str, labels: Sequence[str]) -> bool:
        return (prompt, frozenset(labels)) in self._voted

    def vote(
        self, pair: tuple[Sample, Sample], labels: tuple[str, str], verdict: Verdict, *, blind: bool, note: str = ""
    ) -> None:
        """Appends one line, whole, on `pair` as it stood. Raises `OSError` where the file can't be written."""
        responses = [sample.response for sample in pair]
        best = {"left": 0, "right": 1}.get(verdict)
        vote = Vote(
            prompt=pair[0].prompt,
            chosen=None if best is None else responses[best],
            rejected=None if best is None else responses[1 - best],
            verdict=verdict,
            responses=responses,
            policies=list(labels),
            blind=blind,
            note=note,
            time=time.time(),
        )
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
        try:
            os.write(descriptor, msgspec.json.encode(vote) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_turned(prompt: str, labels: Sequence[str]) -> bool:
    """Whether the two are shown the other way round when blind: fixed for a prompt, like a coin over prompts."""
    return random.Random(f"{prompt}/{sorted(labels)}").random() < 0.5
