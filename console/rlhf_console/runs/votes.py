"""People's verdicts on pairs of responses, kept so that a reward model can be trained on them."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from rlhf_console.runs.pairs import Pair, Side
from rlhf_sdk.files import PRIVATE_FILE

Verdict = Literal["left", "right", "tie", "both_bad"]
FILE = "preferences.jsonl"


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `preferences.jsonl`; `chosen` and `rejected` are there where one response was better.

    `left` and `right` name run and policy; `blind`: whoever voted did not see which was which.
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


@dataclass(frozen=True)
class Voting:
    """Writes votes to one file in the run folder."""

    root: Path

    @property
    def file(self) -> Path:
        return self.root / FILE

    def vote(self, pair: Pair, sides: tuple[Side, Side], verdict: Verdict, *, blind: bool, note: str = "") -> None:
        """Appends one line, whole. Raises `OSError` where the file can't be written."""
        responses = [pair.left.response, pair.right.response]
        best = {"left": 0, "right": 1}.get(verdict)
        vote = Vote(
            prompt=pair.prompt,
            chosen=None if best is None else responses[best],
            rejected=None if best is None else responses[1 - best],
            verdict=verdict,
            responses=responses,
            policies=[side.label for side in sides],
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


def is_turned(prompt: str, labels: tuple[str, str]) -> bool:
    """Whether the two are shown the other way round when blind: fixed for a prompt, like a coin over prompts."""
    return random.Random(f"{prompt}/{sorted(labels)}").random() < 0.5
