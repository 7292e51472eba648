"""A report as one HTML file that asks nothing of the network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from rlhf_console.printable import printable
from rlhf_console.render import number
from rlhf_console.report.document import Block, Bullets, Code, Plot, Quotes, Report, Section, Table, Text
from rlhf_console.report.plot import plot
from rlhf_console.svg import svg_of

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 1180px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
nav a { margin-right: 1rem; } a { color: #0057a0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0 1.2rem; }
th, td { text-align: left; padding: .2rem .7rem; border-bottom: 1px solid #e6e6e6; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } caption { text-align: left; font-weight: 600; }
.plots { display: flex; flex-wrap: wrap; gap: .6rem; } .plots svg { max-width: 100%; height: auto; }
pre { background: #f5f5f5; padding: .7rem; overflow-x: auto; } blockquote { margin: .3rem 0 .3rem 1rem; }
.quotes { border-left: 3px solid #ccc; padding-left: .8rem; margin: 1rem 0; } .quotes b { color: #555; }
@media print { body { max-width: none; margin: 0; } h2 { break-after: avoid; } .quotes, svg { break-inside: avoid; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html(report: Report) -> str:
    """The whole document; nothing from a run is taken as markup, and a browser would fetch nothing."""
    sections = [section for section in report.sections if section.blocks]
    links = "".join(f"<a href='#{_anchor(section)}'>{_text(section.title)}</a>" for section in sections)
    head = (
        f"<meta charset='utf-8'><meta http-equiv='Content-Security-Policy' content=\"{POLICY}\">"
        f"<meta name='viewport' content='width=device-width'><title>{_text(report.title)}</title><style>{STYLE}</style>"
    )
    body = "\n".join(_section(section) for section in sections)
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}</head><body>\n<h1>{_text(report.title)}</h1>\n"
        f"<nav>{links}</nav>\n{body}\n</body></html>\n"
    )


def _text(text: str, *, keep_newlines: bool = False) -> str:
    return escape(printable(text, keep_newlines=keep_newlines))


def _anchor(section: Section) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in section.title.lower())


def _section(section: Section) -> str:
    parts, plots = [f"<section><h2 id='{_anchor(section)}'>{_text(section.title)}</h2>"], list[str]()
    for block in section.blocks:
        if isinstance(block, Plot):
            plots.append(_drawn(block))
            continue
        parts += _grid(plots)
        plots = []
        parts.append(_block(block))
    return "\n".join([*parts, *_grid(plots), "</section>"])


def _grid(plots: Sequence[str]) -> list[str]:
    return ["<div class='plots'>", *plots, "</div>"] if plots else []


def _drawn(block: Plot) -> str:
    return svg_of(plot(block.title, block.unit, block.lines, block.guides, x_label=block.x_label), block.title)


def _block(block: Block) -> str:
    match block:
        case Text():
            return f"<p>{_text(block.text)}</p>"
        case Bullets():
            return f"<ul>{''.join(f'<li>{_text(text)}</li>' for text in block.texts)}</ul>"
        case Code():
            return f"<pre>{_text(block.text, keep_newlines=True)}</pre>"
        case Table():
            return _table(block)
        case Plot():
            return _drawn(block)
        case Quotes():
            texts = "".join(
                f"<blockquote><b>{_text(label)}</b> {_text(' '.join(text.split()) or '(empty)')}</blockquote>"
                for label, text in block.texts
            )
            return f"<div class='quotes'><p>{_text(block.caption)}</p>{texts}</div>"


def _table(block: Table) -> str:
    title = _text(block.caption)
    caption = f"<caption>{title}</caption>" if title and not block.folded else ""
    head = "".join(f"<th>{_text(column)}</th>" for column in block.columns)
    rows = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in block.rows)
    whole = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    if block.folded:
        return f"<details class='wide'><summary>{title}</summary>{whole}</details>"
    return f"<div class='wide'>{whole}</div>"


def _cell(cell: Any) -> str:
    if cell is None:
        return "<td></td>"
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return f"<td class='number'>{escape(number(cell))}</td>"
    return f"<td>{_text(str(cell))}</td>"
