"""People's votes on pairs of responses: `preferences.jsonl` in a folder of runs, append-only, one line a vote.

Several processes may write: each line goes in whole, under a lock, and what a killed writer left of one is cut off.
A vote that was taken back is followed by a line that says so; a reader leaves both out.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from rlhf_sdk.bounds import Seconds, check_depth
from rlhf_sdk.events import encode_line
from rlhf_sdk.files import make_private_directory
from rlhf_sdk.journal import LineFile
from rlhf_sdk.tail import Tail

Verdict = Literal["left", "right", "tie", "both_bad"]
FILE = "preferences.jsonl"
SCHEMA = 2
"""1, which no line names: without labeller, sources, figures, ids."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a response comes from: a sample of a run, or, with `run` empty, whatever `policy` says."""

    policy: str
    run: str = ""
    tag: str = ""
    step: int = 0
    index: int = 0


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `responses`, `policies`, `sources` and `figures` are in the order that was shown: left, right.

    `chosen` and `rejected` are there where one response was better. `policies` names them; `figures` is what was known
    of each (`score`, `gold`) and not shown; `blind`: whoever voted did not see which was which; `repeat_of`: the id of
    the same labeller's vote on this pair that the pair was shown again for.
    """

    schema: int = 1
    id: str = ""
    prompt: str
    chosen: str | None
    rejected: str | None
    verdict: Verdict
    responses: tuple[str, str]
    policies: tuple[str, str]
    sources: tuple[Source, Source] | None = None
    figures: tuple[dict[str, float], dict[str, float]] = ({}, {})
    blind: bool = True
    note: str = ""
    labeller: str = ""
    repeat_of: str = ""
    time: Seconds

    @property
    def pair(self) -> tuple[str, frozenset[str]]:
        """What was compared, whichever way round."""
        return self.prompt, frozenset(self.responses)


class Retraction(msgspec.Struct, frozen=True, kw_only=True):
    """A line that takes the vote of that id back."""

    schema: int = SCHEMA
    retracts: str
    labeller: str = ""
    time: Seconds


def new_vote(
    prompt: str,
    responses: tuple[str, str],
    verdict: Verdict,
    *,
    policies: tuple[str, str],
    labeller: str,
    blind: bool = True,
    sources: tuple[Source, Source] | None = None,
    figures: tuple[Mapping[str, float], Mapping[str, float]] = ({}, {}),
    note: str = "",
    repeat_of: str = "",
) -> Vote:
    """A vote of now, with a new id; of the figures those that are finite."""
    best = {"left": 0, "right": 1}.get(verdict)
    return Vote(
        schema=SCHEMA,
        id=uuid.uuid4().hex,
        prompt=prompt,
        chosen=None if best is None else responses[best],
        rejected=None if best is None else responses[1 - best],
        verdict=verdict,
        responses=responses,
        policies=policies,
        sources=sources,
        figures=(_finite(figures[0]), _finite(figures[1])),
        blind=blind,
        note=note,
        labeller=labeller,
        repeat_of=repeat_of,
        time=time.time(),
    )


def _finite(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: figure for name, figure in figures.items() if math.isfinite(figure)}


def decode_line(line: bytes) -> Vote | Retraction:
    """Raises `ValueError` for a damaged line, and for one of a newer version, whose meaning may be another."""
    fields = msgspec.json.decode(line, type=dict[str, Any])
    check_depth(fields)
    schema = fields.get("schema", 1)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise ValueError(f"schema {schema!r}; this version reads up to {SCHEMA}: upgrade rlhf-console")
    return msgspec.convert(fields, type=Retraction) if "retracts" in fields else msgspec.convert(fields, type=Vote)


class PreferenceStore:
    """The votes of one folder of runs; `votes` has those that stand, oldest first, as of the last `refresh`."""

    def __init__(self, root: Path) -> None:
        self.file = root / FILE
        self._lines = Tail(self.file, decode_line)
        self._votes: list[Vote] = []
        self._retracted: set[str] = set()

    @property
    def damaged(self) -> int:
        """Complete lines that can't be read."""
        return self._lines.damaged

    @property
    def votes(self) -> list[Vote]:
        return [vote for vote in self._votes if vote.id not in self._retracted]

    @property
    def is_behind(self) -> bool:
        """Whether something has been written since the last `refresh`."""
        return self._lines.unread_bytes > 0

    def refresh(self) -> list[Vote]:
        """Reads what has been written since, and returns `votes`. Raises `OSError` where the file can't be read."""
        for line in self._lines:
            if isinstance(line, Retraction):
                self._retracted.add(line.retracts)
            else:
                self._votes.append(line)
        return self.votes

    def append(self, vote: Vote) -> None:
        """Adds a line and waits until it would survive a loss of power. Raises `OSError` where it can't be written."""
        self._append(vote)

    def retract(self, vote: Vote) -> None:
        """Takes a vote back. Raises `OSError` where that can't be written."""
        self._append(Retraction(retracts=vote.id, labeller=vote.labeller, time=time.time()))

    def _append(self, line: msgspec.Struct) -> None:
        make_private_directory(self.file.parent)
        with _alone(self.file):
            lines = LineFile(self.file)
            try:
                lines.append(encode_line(line))
                lines.sync()
            finally:
                lines.close()


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """No other writer cuts off or adds a line meanwhile."""
    lock = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
