"""Braille dots: a cell is 2 dots wide and 4 high. A later line covers an earlier one where they share a cell, and every
line what is shaded."""

from __future__ import annotations

from rlhf_console.scale import Scale
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.columns import Columns

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
BRAILLE = 0x2800


class Canvas:
    """`width` x `height` cells, 2 `width` x 4 `height` dots, the origin at the top left."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._bits = [[0] * width for _ in range(height)]
        self._styles = [[""] * width for _ in range(height)]
        self._shades: dict[tuple[int, int], tuple[int, str]] = {}
        self._characters: dict[tuple[int, int], tuple[str, str]] = {}

    def dot(self, x: int, y: int, style: str) -> None:
        row, column = y >> 2, x >> 1
        if self._styles[row][column] != style:
            self._styles[row][column], self._bits[row][column] = style, 0
        self._bits[row][column] |= DOTS[y & 3][x & 1]

    def shade(self, x: int, y: int, style: str) -> None:
        """A dot of a field below all lines; fields share a cell, in the later one's style."""
        bits, _ = self._shades.get((y >> 2, x >> 1), (0, ""))
        self._shades[y >> 2, x >> 1] = bits | DOTS[y & 3][x & 1], style

    def line(self, start: tuple[int, int], end: tuple[int, int], style: str) -> None:
        """The dots of a straight line, both ends included."""
        (x0, y0), (x1, y1) = start, end
        count = max(abs(x1 - x0), abs(y1 - y0), 1)
        for i in range(count + 1):
            self.dot(x0 + round((x1 - x0) * i / count), y0 + round((y1 - y0) * i / count), style)

    def put(self, x: int, y: int, character: str, style: str) -> None:
        """A whole character over the cell that holds a dot."""
        self._characters[y >> 2, x >> 1] = character, style

    def is_blank(self, row: int, column: int) -> bool:
        return not self._bits[row][column] and (row, column) not in self._characters

    def rows(self) -> list[Row]:
        return [[self._cell(row, column) for column in range(self.width)] for row in range(self.height)]

    def _cell(self, row: int, column: int) -> tuple[str, str]:
        bits, style = self._bits[row][column], self._styles[row][column]
        if not bits:
            bits, style = self._shades.get((row, column), (0, ""))
        drawn = (chr(BRAILLE + bits), style) if bits else (" ", "")
        return self._characters.get((row, column), drawn)


def draw_columns(canvas: Canvas, columns: Columns, scale: Scale, style: str) -> tuple[int, int] | None:
    """Draws a series that was gathered for the canvas's dot columns; returns the dot of its last value."""
    before: tuple[int, int] | None = None
    for x in sorted(columns.extents):
        extent = columns.extents[x]
        canvas.line((x, dot_row(extent.high, scale, canvas)), (x, dot_row(extent.low, scale, canvas)), style)
        if before is not None and extent.joined:
            canvas.line(before, (x, dot_row(extent.first, scale, canvas)), style)
        before = x, dot_row(extent.last, scale, canvas)
    return before


def dot_row(value: float, scale: Scale, canvas: Canvas) -> int:
    return round((1.0 - scale.share(value)) * (canvas.height * 4 - 1))
