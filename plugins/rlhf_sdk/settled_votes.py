"""From votes to comparisons: one a pair, however often and by whomever it was voted on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk.bounds import LINE_BYTES, open_plain
from rlhf_sdk.preferences import Retraction, Vote, decode_line
from rlhf_sdk.trainer import UserError

Line = Vote | Retraction | str
"""A line of a store; why it can't be read, where it can't."""


@dataclass(frozen=True)
class Settled:
    """Comparisons by the row (from 1) of their pair's first vote; `problems` has the rows that can't be read."""

    comparisons: Mapping[int, Mapping[str, Any]]
    problems: Mapping[int, str]
    rows: int
    summary: str

    def lines(self) -> Iterator[bytes]:
        """JSON lines for trainers: row N stands in line N, and a row that is no comparison is blank.

        A row that can't be read is a text that says why, which no reader of comparisons takes for one.
        """
        for row in range(1, self.rows + 1):
            found = self.comparisons.get(row, self.problems.get(row))
            yield (b"" if found is None else msgspec.json.encode(found)) + b"\n"


def read_lines(file: Path, rows: int | None = None) -> list[Line]:
    """The first `rows` complete lines of a store, or all. Raises `UserError` where the file can't be read."""
    lines: list[Line] = []
    try:
        with os.fdopen(open_plain(file), "rb") as stream:
            while (rows is None or len(lines) < rows) and (line := stream.readline(LINE_BYTES)).endswith(b"\n"):
                lines.append(_read(line))
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    return lines


def _read(line: bytes) -> Line:
    try:
        return decode_line(line)
    except (ValueError, RecursionError) as error:
        return f"no vote: {error}"


def settle(lines: Sequence[Line]) -> Settled:
    """One comparison for each pair that somebody voted on, whichever way round it was shown.

    A labeller's votes on one pair count once, and for neither response where they contradict each other. A pair is
    decided by the larger number of labellers; as many on both sides, or on none, prefer neither (verdict "tie").
    """
    taken_back = {line.retracts for line in lines if isinstance(line, Retraction)}
    votes = {row: line for row, line in enumerate(lines, 1) if isinstance(line, Vote)}
    standing = {row: vote for row, vote in votes.items() if vote.id not in taken_back}
    pairs: dict[object, dict[int, Vote]] = {}
    for row, vote in standing.items():
        pairs.setdefault(vote.pair, {})[row] = vote
    comparisons = {next(iter(pair)): _comparison(list(pair.values())) for pair in pairs.values()}
    undecided = sum(comparison["chosen"] is None for comparison in comparisons.values())
    said = {"pairs": len(pairs), "undecided": undecided, "taken back": len(votes) - len(standing)}
    summary = f"{len(standing)} votes on " + ", ".join(f"{count} {what}" for what, count in said.items() if count)
    problems = {row: line for row, line in enumerate(lines, 1) if isinstance(line, str)}
    return Settled(comparisons, problems, len(lines), summary)


def preferred_by(votes: Sequence[Vote]) -> dict[str, str | None]:
    """What each labeller prefers, of votes on one pair; None for neither."""
    said: dict[str, set[str | None]] = {}
    for vote in votes:
        said.setdefault(vote.labeller, set()).add(vote.chosen if len(vote.pair[1]) == 2 else None)
    return {labeller: next(iter(chosen)) if len(chosen) == 1 else None for labeller, chosen in said.items()}


def _comparison(votes: Sequence[Vote]) -> dict[str, Any]:
    """With `sources` as policies of (chosen, rejected)."""
    first, preferred = votes[0], preferred_by(votes)
    found = {"id": first.id, "prompt": first.prompt, "labellers": sorted(preferred)}
    counts = Counter(chosen for chosen in preferred.values() if chosen is not None).most_common()
    if not counts or (len(counts) > 1 and counts[0][1] == counts[1][1]):
        return {**found, "chosen": None, "rejected": None, "verdict": "tie"}
    best = first.responses.index(counts[0][0])
    other = 1 - best
    named = {"sources": [first.policies[best], first.policies[other]]}
    return {**found, "chosen": first.responses[best], "rejected": first.responses[other], **named}
