"""A report as Markdown: plots become a table of the figures that a reader would read off them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rlhf_console.printable import printable
from rlhf_console.render import number
from rlhf_console.report.document import Block, Bullets, Code, Plot, Quotes, Report, Table, Text
from rlhf_console.report.plot import Line

Shown = Text | Bullets | Code | Table | Quotes

SPECIAL = re.compile(r"([\\`*{}\[\]<>#|~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def markdown(report: Report) -> str:
    """The whole document; nothing from a run is taken as markup."""
    parts = [f"# {_plain(report.title)}"]
    for section in report.sections:
        if section.blocks:
            parts += [f"## {_plain(section.title)}", *map(_block, _with_plots_as_tables(section.blocks))]
    return "\n\n".join(parts) + "\n"


def _with_plots_as_tables(blocks: Sequence[Block]) -> Iterator[Shown]:
    for is_plot, group in groupby(blocks, lambda block: isinstance(block, Plot)):
        if is_plot:
            rows = [row for plot in group if isinstance(plot, Plot) for row in _plot_rows(plot)]
            yield Table(["plot", "unit", "curve", "first", "lowest", "highest", "last"], rows)
        else:
            yield from (block for block in group if not isinstance(block, Plot))


def _block(block: Shown) -> str:
    match block:
        case Text():
            return _plain(block.text)
        case Bullets():
            return "\n".join(f"- {_plain(text)}" for text in block.texts)
        case Code():
            return _fenced(block.text)
        case Table():
            caption = f"{_plain(block.caption)}\n\n" if block.caption else ""
            return caption + _table(block.columns, block.rows)
        case Quotes():
            texts = "\n".join(f"> **{_plain(label)}** {_plain(text) or '(empty)'}\n>" for label, text in block.texts)
            return f"{_plain(block.caption)}\n\n{texts.removesuffix(chr(10) + '>')}"


def _plain(text: str) -> str:
    """One line in which nothing is markup."""
    return SPECIAL.sub(r"\\\1", printable(" ".join(text.split())))


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{printable(text, keep_newlines=True)}\n{fence}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns)]
    head = ["| " + " | ".join(_plain(cell) if line is columns else cell for cell in line) + " |" for line in lines]
    body = ["| " + " | ".join(_plain("" if cell is None else number(cell)) for cell in row) + " |" for row in rows]
    return "\n".join(head + body)


def _plot_rows(plot: Plot) -> list[list[Any]]:
    rows = [[plot.title, plot.unit, line.name, *_figures(line)] for line in plot.lines]
    return rows + [[plot.title, plot.unit, guide.label, None, None, None, guide.value] for guide in plot.guides]


def _figures(line: Line) -> list[float | None]:
    finite = [value for value in line.ys if math.isfinite(value)]
    return [finite[0], min(finite), max(finite), finite[-1]] if finite else [None] * 4
