"""Rows of cells: what stands in each column of the terminal, and the name of its style.

All text that a run wrote comes through `text_cells`, which makes it harmless; nothing is ever read as markup.
"""

from __future__ import annotations

from rich.cells import cell_len

from rlhf_console.printable import printable

Cell = tuple[str, str]
"""A character with its combining marks, and a style; "" stands behind a character that is two columns wide."""

Row = list[Cell]

GAP = 2
BRIDGE = 6
"""Equal cells between two changed spans that are cheaper to send than to skip."""


def text_cells(text: str, style: str = "") -> Row:
    """One cell for each column that `text` takes; control characters become visible escapes."""
    if text.isascii() and text.isprintable():
        return [(character, style) for character in text]
    row: Row = []
    for character in printable(text):
        width = cell_len(character)
        if width == 0 and row:
            row[-1] = (row[-1][0] + character, row[-1][1])
        elif width > 0:
            row.append((character, style))
            row.extend([("", style)] * (width - 1))
    return row


def plain_text(row: Row) -> str:
    return "".join(text for text, _ in row).rstrip()


def fit(row: Row, width: int) -> Row:
    """Exactly `width` cells: padded with blanks, or cut with an ellipsis."""
    if len(row) <= width:
        return row + [(" ", "")] * (width - len(row))
    if width <= 0 or all(text == " " for text, _ in row[width:]):
        return row[: max(width, 0)]
    kept = row[: width - 1]
    if row[width - 1][0] == "" and kept:
        kept[-1] = (" ", kept[-1][1])
    return [*kept, ("…", row[width - 1][1])]


def spread(left: Row, right: Row, width: int) -> Row:
    """`left` and `right` at the ends of `width` cells; `left` gives way."""
    room = width - len(right) - GAP
    if not right or room <= 0:
        return fit(left, width)
    return fit(left, room) + [(" ", "")] * GAP + right


def join(parts: list[Row], gap: int = GAP) -> Row:
    """The parts that are not empty, with blanks between."""
    row: Row = []
    for part in parts:
        if part:
            row += ([(" ", "")] * gap if row else []) + part
    return row


def flow(parts: list[Row], width: int, gap: int = GAP) -> list[Row]:
    """The parts in rows of at most `width` cells, as many to a row as there is room for."""
    rows: list[Row] = [[]]
    for part in parts:
        longer = join([rows[-1], part], gap)
        fits = not rows[-1] or len(longer) <= width
        rows = [*rows[:-1], longer] if fits else [*rows, part]
    return rows


def changed_spans(before: Row, after: Row) -> list[tuple[int, int]]:
    """Columns [start, end) where two rows of one length differ; neighbouring spans are joined."""
    spans: list[tuple[int, int]] = []
    for column, (old, new) in enumerate(zip(before, after, strict=True)):
        if old == new:
            continue
        if spans and column - spans[-1][1] <= BRIDGE:
            spans[-1] = (spans[-1][0], column + 1)
        else:
            spans.append((column, column + 1))
    return [_whole_characters(before, after, *span) for span in spans]


def _whole_characters(before: Row, after: Row, start: int, end: int) -> tuple[int, int]:
    """The span, widened so that it cuts no wide character of either row."""
    while start > 0 and (before[start][0] == "" or after[start][0] == ""):
        start -= 1
    while end < len(after) and (before[end][0] == "" or after[end][0] == ""):
        end += 1
    return start, end


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken at spaces where there are any; line ends of `text` are kept."""
    return [line for part in text.split("\n") if part.strip() for line in _wrap_line(printable(part), width)]


def _wrap_line(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        *pieces, line = _pieces(word, width)
        lines += pieces
    return [*lines, line] if line else lines


def _pieces(word: str, width: int) -> list[str]:
    """A word in pieces of at most `width` columns."""
    pieces = [""]
    for character in word:
        if pieces[-1] and cell_len(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces
