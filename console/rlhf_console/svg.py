"""Line plots as SVG: for reports, and for charts that leave the console."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from rlhf_console.printable import printable
from rlhf_console.scale import Scale, View, figure, step_ticks, tick_texts, value_scale

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666", "#b8a500")
"""Okabe and Ito's (2008), which colour-blind people tell apart; the last two are darkened to be seen on white."""

DASHES = ("", "6 3", "2 2", "8 3 2 3", "1 3", "10 4", "4 4 1 4", "12 3 3 3")
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 26, 34
LEGEND_LINE = 16
TICKS = 5
FONT = "font-family='system-ui, sans-serif' font-size='11'"

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """Values `ys` [N] at `xs` [N], which grow; one that is not finite is a gap."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class Guide:
    """A value to compare with, drawn across the plot: what somebody else measured, or a target."""

    value: float
    label: str


def line_plot(
    title: str,
    unit: str,
    lines: Sequence[Line],
    guides: Sequence[Guide] = (),
    *,
    x_label: str = "step",
    width: int = 560,
    height: int = 240,
) -> str:
    """An `<svg>` element that needs nothing else; lines differ in dashes too, so that it can be printed in grey."""
    plot = _Plot(_view(lines), _scale(lines, guides), width, height)
    legend = LEGEND_LINE * math.ceil(len(lines) / 2) if len(lines) > 1 else 0
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' role='img' viewBox='0 0 {width} {height + legend}' "
        f"width='{width}' height='{height + legend}' {FONT}>",
        f"<title>{_text(title)}</title>",
        f"<rect width='{width}' height='{height + legend}' fill='white'/>",
        f"<text x='8' y='16' font-weight='600'>{_text(title)}{_text(f' ({unit})' if unit else '')}</text>",
        *_axes(plot, x_label),
        *(part for guide in guides for part in _guide(plot, guide)),
        *(part for place, line in enumerate(lines) for part in _line(plot, line, place)),
        *(part for place, line in enumerate(lines) if legend for part in _legend(line, place, width, height)),
        "</svg>",
    ]
    return "\n".join(parts)


@dataclass(frozen=True)
class _Plot:
    view: View
    scale: Scale
    width: int
    height: int

    def x(self, place: float) -> float:
        share = (place - self.view.first) / (self.view.last - self.view.first)
        return LEFT + share * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return TOP + (1 - self.scale.share(value)) * (self.height - TOP - BOTTOM)


def _text(text: str) -> str:
    return escape(printable(text))


def _view(lines: Sequence[Line]) -> View:
    places = [place for line in lines for place in (line.xs[:1], line.xs[-1:]) if len(place)]
    first, last = min((place[0] for place in places), default=0.0), max((place[0] for place in places), default=1.0)
    return View(first, last if last > first else first + 1.0)


def _scale(lines: Sequence[Line], guides: Sequence[Guide]) -> Scale:
    values = [value for line in lines for value in line.ys if math.isfinite(value)]
    values += [guide.value for guide in guides]
    return value_scale(min(values, default=0.0), max(values, default=1.0), TICKS)


def _axes(plot: _Plot, x_label: str) -> Iterable[str]:
    right, bottom = plot.width - RIGHT, plot.height - BOTTOM
    for tick, text in zip(plot.scale.ticks, tick_texts(plot.scale), strict=True):
        y = f"{plot.y(tick):.1f}"
        yield f"<line x1='{LEFT}' x2='{right}' y1='{y}' y2='{y}' stroke='#e4e4e4'/>"
        yield f"<text x='{LEFT - 6}' y='{plot.y(tick) + 4:.1f}' text-anchor='end' fill='#555'>{text}</text>"
    for step in step_ticks(plot.view, TICKS):
        x = f"{plot.x(step):.1f}"
        yield f"<text x='{x}' y='{bottom + 15}' text-anchor='middle' fill='#555'>{step:,}</text>".replace(",", " ")
    yield f"<path d='M{LEFT} {TOP}V{bottom}H{right}' fill='none' stroke='#888'/>"
    yield f"<text x='{right}' y='{bottom + 29}' text-anchor='end' fill='#555'>{_text(x_label)}</text>"


def _guide(plot: _Plot, guide: Guide) -> Iterable[str]:
    y, right = plot.y(guide.value), plot.width - RIGHT
    yield f"<line x1='{LEFT}' x2='{right}' y1='{y:.1f}' y2='{y:.1f}' stroke='#999' stroke-dasharray='3 4'/>"
    label = f"{_text(guide.label)}: {figure(guide.value)}"
    yield f"<text x='{right - 4}' y='{y - 4:.1f}' text-anchor='end' fill='#777'>{label}</text>"


def _line(plot: _Plot, line: Line, place: int) -> Iterable[str]:
    colour, dash = COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)]
    style = f"fill='none' stroke='{colour}' stroke-width='1.6' stroke-dasharray='{dash}'"
    for piece in _pieces(line, plot):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
        if len(piece) == 1:
            yield f"<circle cx='{piece[0][0]:.1f}' cy='{piece[0][1]:.1f}' r='2' fill='{colour}'/>"
        else:
            yield f"<polyline points='{points}' {style}/>"


def _pieces(line: Line, plot: _Plot) -> list[list[Point]]:
    """The points between the gaps, of each column of pixels its first, lowest, highest and last alone."""
    pieces: list[list[Point]] = [[]]
    for place, value in zip(line.xs, line.ys, strict=True):
        if math.isfinite(value):
            pieces[-1].append((plot.x(place), plot.y(value)))
        elif pieces[-1]:
            pieces.append([])
    return [_thinned(piece) for piece in pieces if piece]


def _thinned(points: Sequence[Point]) -> list[Point]:
    kept: list[Point] = []
    start = 0
    for end in range(1, len(points) + 1):
        if end == len(points) or round(points[end][0]) != round(points[start][0]):
            column = range(start, end)
            extremes = {
                start,
                min(column, key=lambda i: points[i][1]),
                max(column, key=lambda i: points[i][1]),
                end - 1,
            }
            kept += [points[i] for i in sorted(extremes)]
            start = end
    return kept


def _legend(line: Line, place: int, width: int, height: int) -> Iterable[str]:
    x, y = LEFT + place % 2 * (width - LEFT) / 2, height + place // 2 * LEGEND_LINE + 4
    colour, dash = COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)]
    yield f"<path d='M{x:.0f} {y}h26' stroke='{colour}' stroke-width='2' stroke-dasharray='{dash}'/>"
    yield f"<text x='{x + 32:.0f}' y='{y + 4}'>{_text(line.name)}</text>"
