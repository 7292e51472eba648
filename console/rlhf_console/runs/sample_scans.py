"""What is known of each sample without keeping its text: figures, and what was looked for in the text."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from rlhf_console.runs.lines import Lines, TwoWay
from rlhf_sdk.non_finite import read_non_finite

PIECE_BYTES = 256 << 10
NO_TAG = -1
MOST_FIGURES = 32

Whole = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


class Head(msgspec.Struct):
    """The fields of a sample that are looked at in every line."""

    tag: str
    prompt: str
    response: str
    seq: Whole = 0
    attempt: Whole = 1
    step: Whole = 0
    ended: bool = True
    metrics: dict[str, Any] = {}

    def figure(self, name: str) -> float:
        """NaN where there is none."""
        value = read_non_finite(self.metrics.get(name))
        return float(value) if isinstance(value, int | float) else math.nan


_decode = msgspec.json.Decoder(Head).decode


def head_of(line: bytes) -> Head | None:
    """None for a damaged line."""
    try:
        return _decode(line)
    except (ValueError, RecursionError):
        return None


class Scan:
    """Looks at every line once, the newest first, a piece at a time."""

    def __init__(self) -> None:
        self.first = self.end = 0
        """The rows that were looked at, as a range."""

    def advance(self, lines: Lines) -> bool:
        """Looks at about 256 KiB; True if there is more."""
        if self.end < lines.end:
            rows = lines.stretch(self.end, lines.end, PIECE_BYTES)
        else:
            rows = lines.stretch(self.first - 1, lines.first - 1, PIECE_BYTES)
        for row, line in zip(rows, lines.texts(rows), strict=True):
            self.look(row, head_of(line))
        if rows.step > 0:
            self.end += len(rows)
        else:
            self.first -= len(rows)
        return self.end < lines.end or self.first > lines.first

    def look(self, row: int, head: Head | None) -> None:
        raise NotImplementedError


def add(column: TwoWay, row: int, value: float) -> None:
    (column.newer if row >= 0 else column.older).append(value)


class Columns(Scan):
    """What every order and choice of samples needs. `prompts` tells prompts apart, `tags` has their tags' numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.seqs, self.attempts, self.steps, self.prompts, self.tags = (TwoWay("q") for _ in range(5))
        self.ended = TwoWay("b")
        self.damaged: set[int] = set()
        self.figures: dict[str, TwoWay] = {}
        self.tag_numbers: dict[str, int] = {}
        self._tag_began: dict[str, int] = {}

    @property
    def tag_names(self) -> list[str]:
        """In the order in which they came."""
        return sorted(self._tag_began, key=self._tag_began.__getitem__)

    def look(self, row: int, head: Head | None) -> None:
        if head is None:
            head, tag = Head("", "", ""), NO_TAG
            self.damaged.add(row)
        else:
            tag = self.tag_numbers.setdefault(head.tag, len(self.tag_numbers))
            self._tag_began[head.tag] = min(row, self._tag_began.get(head.tag, row))
        add(self.seqs, row, head.seq)
        add(self.attempts, row, head.attempt)
        add(self.steps, row, head.step)
        add(self.prompts, row, hash(head.prompt))
        add(self.tags, row, tag)
        add(self.ended, row, head.ended)
        self._look_at_figures(row, head)

    def _look_at_figures(self, row: int, head: Head) -> None:
        new = [name for name in head.metrics if name not in self.figures]
        for name in new[: MOST_FIGURES - len(self.figures)]:
            self.figures[name] = column = TwoWay("d")
            column.newer.extend([math.nan] * len(self.seqs.newer))
            column.older.extend([math.nan] * len(self.seqs.older))
            (column.newer if row >= 0 else column.older).pop()
        for name, column in self.figures.items():
            add(column, row, head.figure(name))


class TextScan(Scan):
    """One number for each sample, from its text; NaN for a damaged line."""

    def __init__(self, measure: Callable[[Head], float]) -> None:
        super().__init__()
        self.values = TwoWay("d")
        self._measure = measure

    def look(self, row: int, head: Head | None) -> None:
        add(self.values, row, math.nan if head is None else self._measure(head))

    def value(self, row: int) -> float:
        """NaN too where it hasn't looked yet."""
        return self.values[row] if self.first <= row < self.end else math.nan
