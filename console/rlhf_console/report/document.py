"""What a report consists of, before it is HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rlhf_console.report.plot import Guide, Line


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Sentences, one below the other."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Lines to be copied as they are."""

    text: str


@dataclass(frozen=True)
class Table:
    """Cells are text, numbers, or None for nothing. `folded`: one that a reader looks things up in."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Plot:
    """Curves in one frame."""

    title: str
    unit: str
    lines: Sequence[Line]
    guides: Sequence[Guide] = ()
    x_label: str = "step"


@dataclass(frozen=True)
class Quotes:
    """Texts beside their labels: a prompt, and what was written to it."""

    caption: str
    texts: Sequence[tuple[str, str]]


Block = Text | Bullets | Code | Table | Plot | Quotes


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """The whole document; sections without a block are left out."""

    title: str
    sections: Sequence[Section]
