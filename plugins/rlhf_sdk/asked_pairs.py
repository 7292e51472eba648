"""The pairs that a run asks about, in a file of its own: what `rlhf label RUN` shows, and what a resumed run reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from rlhf_sdk.files import make_private_directory, write_atomically

PAIRS_FILE = "pairs.jsonl"


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `index`: the prompt's row in the data; `policies`: who wrote the responses.

    `scores` are the reward model's, `margin` the first's less the second's, `disagreement` the margin's standard
    deviation over the heads; None where there is no reward model.
    """

    index: int
    prompt: str
    responses: tuple[str, str]
    policies: tuple[str, str]
    scores: tuple[float, float] | None = None
    margin: float | None = None
    disagreement: float | None = None


def write_pairs(folder: Path, pairs: Sequence[Pair]) -> None:
    """All at once, or not at all."""
    make_private_directory(folder)
    write_atomically(folder / PAIRS_FILE, b"".join(msgspec.json.encode(pair) + b"\n" for pair in pairs))


def read_pairs(folder: Path) -> list[Pair] | None:
    """None where there are none yet."""
    file = folder / PAIRS_FILE
    if not file.exists():
        return None
    return [msgspec.json.decode(line, type=Pair) for line in file.read_bytes().splitlines()]
