"""Two texts word by word: what only one of them has is marked, in both."""

from __future__ import annotations

from difflib import SequenceMatcher

from rlhf_console.printable import printable
from rlhf_console.tui.drawing.cells import Row, text_cells

Word = tuple[str, str]
"""A word, and its style."""

LONGEST = 400
"""Words; longer texts are shown without marks, since comparing takes time that grows with the square."""


def marked_words(left: str, right: str) -> tuple[list[Word], list[Word]]:
    """The words of both; those that the other has not are in the styles of removal and addition."""
    mine, others = left.split(), right.split()
    if max(len(mine), len(others)) > LONGEST:
        return plain_words(left), plain_words(right)
    left_marks, right_marks = [True] * len(mine), [True] * len(others)
    for block in SequenceMatcher(None, mine, others, autojunk=False).get_matching_blocks():
        left_marks[block.a : block.a + block.size] = [False] * block.size
        right_marks[block.b : block.b + block.size] = [False] * block.size
    return _styled(mine, left_marks, "removed"), _styled(others, right_marks, "added")


def added_words(first: str, text: str) -> list[Word]:
    """The words of `text`; those that `first` has not are in the style of addition."""
    return marked_words(first, text)[1]


def plain_words(text: str) -> list[Word]:
    return [(word, "") for word in text.split()]


def _styled(words: list[str], marks: list[bool], style: str) -> list[Word]:
    return [(word, style if marked else "") for word, marked in zip(words, marks, strict=True)]


def wrapped(words: list[Word], width: int) -> list[Row]:
    """Rows of at most `width` cells; a word that is longer is cut into pieces."""
    rows: list[Row] = [[]]
    for word, style in words:
        cells = text_cells(printable(word), style)
        if rows[-1] and len(rows[-1]) + 1 + len(cells) > width:
            rows.append([])
        gap: Row = [(" ", "")] if rows[-1] else []
        if len(cells) <= width:
            rows[-1] += gap + cells
            continue
        rows += [cells[start : start + width] for start in range(0, len(cells), width)]
    return [row for row in rows if row] or [[]]
