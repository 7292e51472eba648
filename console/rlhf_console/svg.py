"""Strokes and labels in pixels as SVG: for charts in reports, and for those that leave the console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from rlhf_console.printable import printable

INK = "#1a1a1a"
FONT = "font-family='system-ui, sans-serif'"

Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Stroke:
    """A line through points, or a dot at a single one; `dashes`: lengths drawn and left out, in turn."""

    points: Sequence[Point]
    colour: str
    width: float = 2
    dashes: str = ""


@dataclass(frozen=True)
class Label:
    """Text whose `anchor` is at a point of its base line."""

    at: Point
    text: str
    colour: str = INK
    anchor: Anchor = "start"
    bold: bool = False


@dataclass(frozen=True)
class Picture:
    """`width` x `height` pixels, the origin at the top left."""

    strokes: Sequence[Stroke]
    labels: Sequence[Label]
    width: int
    height: int
    font_size: int


def svg_of(picture: Picture, title: str = "") -> str:
    """An `<svg>` element that needs nothing else; its text stays text. `title` is what a screen reader says."""
    width, height = picture.width, picture.height
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' role='img' viewBox='0 0 {width} {height}' "
        f"width='{width}' height='{height}'>",
        *([f"<title>{_text(title)}</title>"] if title else []),
        f"<rect width='{width}' height='{height}' fill='white'/>",
        *map(_stroke, picture.strokes),
        f"<g {FONT} font-size='{picture.font_size}'>",
        *map(_label, picture.labels),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts)


def _text(text: str) -> str:
    return escape(printable(text))


def _stroke(stroke: Stroke) -> str:
    """A single point gets a length, so that its round ends are drawn."""
    points = list(stroke.points) if len(stroke.points) > 1 else [*stroke.points] * 2
    path = " ".join(f"{x:.6g},{y:.1f}" for x, y in points)
    look = f"stroke='{stroke.colour}' stroke-width='{stroke.width:g}' stroke-linecap='round' stroke-linejoin='round'"
    dashes = f" stroke-dasharray='{stroke.dashes}'" if stroke.dashes else ""
    return f"<polyline points='{path}' fill='none' {look}{dashes}/>"


def _label(label: Label) -> str:
    x, y = label.at
    weight = " font-weight='600'" if label.bold else ""
    look = f"fill='{label.colour}' text-anchor='{label.anchor}'{weight}"
    return f"<text x='{x:.6g}' y='{y:.1f}' {look}>{_text(label.text)}</text>"
