"""Widgets made of rows of cells."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from rlhf_console.tui.drawing.cells import Row, changed_spans

STYLES = (
    "dim",
    "faint",
    "bold",
    "title",
    "accent",
    "good",
    "warn",
    "alarm",
    "chosen",
    "removed",
    "added",
    *(f"series-{i}" for i in range(6)),
    *(f"{end}-{shade}" for end in ("cold", "hot") for shade in (1, 2, 3)),
)


class Styled(Widget):
    """Named styles, in the colours of the theme."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"cells--{name}" for name in STYLES}
    DEFAULT_CSS = """
    Styled {
        & > .cells--dim { color: $text-muted; }
        & > .cells--faint { color: $text-disabled; }
        &:ansi > .cells--dim { text-style: dim; }
        &:ansi > .cells--faint { text-style: dim; }
        & > .cells--bold { text-style: bold; }
        & > .cells--title { text-style: bold; color: $text; }
        & > .cells--accent { color: $text-primary; text-style: bold; }
        & > .cells--good { color: $text-success; }
        & > .cells--warn { color: $text-warning; }
        & > .cells--alarm { color: $text-error; text-style: bold; }
        & > .cells--removed { color: $text-error; text-style: strike; }
        & > .cells--added { color: $text-success; text-style: underline; }
        & > .cells--chosen { text-style: reverse; }
        & > .cells--series-0 { color: $series-0; }
        & > .cells--series-1 { color: $series-1; }
        & > .cells--series-2 { color: $series-2; }
        & > .cells--series-3 { color: $series-3; }
        & > .cells--series-4 { color: $series-4; }
        & > .cells--series-5 { color: $series-5; }
        & > .cells--cold-1 { background: $primary 20%; }
        & > .cells--cold-2 { background: $primary 45%; }
        & > .cells--cold-3 { background: $primary 70%; text-style: bold; }
        & > .cells--hot-1 { background: $warning 20%; }
        & > .cells--hot-2 { background: $warning 40%; }
        & > .cells--hot-3 { background: $warning 60%; text-style: bold; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._styles_by_name: dict[str, Style] = {}

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles_by_name = {}

    def strip(self, row: Row) -> Strip:
        """The row as what Textual draws; neighbours of one style become one segment."""
        segments = [
            Segment("".join(text for text, _ in cells), self._style(name))
            for name, cells in groupby(row, key=lambda cell: cell[1])
        ]
        return Strip(segments, len(row)).adjust_cell_length(self.row_width, self._style(""))

    @property
    def row_width(self) -> int:
        return self.size.width

    def _style(self, name: str) -> Style:
        style = self._styles_by_name.get(name)
        if style is None:
            style = self.get_component_rich_style(f"cells--{name}") if name else self.rich_style
            self._styles_by_name[name] = style
        return style

    def refresh_changes(self, y: int, before: Row | None, after: Row) -> None:
        """Marks the changed cells of row `y` of this widget for drawing."""
        if before is None or len(before) != len(after):
            self.refresh(Region(0, y, self.row_width, 1))
            return
        for start, end in changed_spans(before, after):
            self.refresh(Region(start, y, end - start, 1))


class Cells(Styled):
    """A fixed block of rows."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: list[Row] = []

    def show(self, rows: Iterable[Row]) -> None:
        """Draws `rows`, and refreshes only what differs from what stands there."""
        before, self._rows = self._rows, list(rows)
        if len(self._rows) < len(before):
            self.refresh()
        for y, row in enumerate(self._rows):
            self.refresh_changes(y, before[y] if y < len(before) else None, row)

    def on_show(self) -> None:
        """What was marked while nothing was in sight is lost to the terminal."""
        self.refresh()

    def on_resize(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        return self.strip(self._rows[y] if y < len(self._rows) else [])
