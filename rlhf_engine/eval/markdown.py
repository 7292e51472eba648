"""Tables and figures as a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def page(title: str, paragraphs: Sequence[str], tables: Sequence[Mapping[str, Any]]) -> str:
    """A heading, paragraphs, and every table ({"title", "columns", "rows"}) below a heading of its own."""
    parts = [f"# {title}", *paragraphs]
    for table in tables:
        parts += [f"## {table['title']}", markdown_table(table["columns"], table["rows"])]
    return "\n\n".join(parts) + "\n"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Numbers with three decimals, nothing for None; bars and line ends in texts can't break the table."""
    lines = [_line(columns), _line(["---"] * len(columns)), *(_line(row) for row in rows)]
    return "\n".join(lines)


def bulleted(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
