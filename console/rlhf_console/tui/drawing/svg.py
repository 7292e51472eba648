"""A picture as SVG; its text stays text."""

from __future__ import annotations

from xml.sax.saxutils import escape

from rlhf_console.tui.drawing.picture import HEIGHT, WIDTH, Label, Picture, Stroke

FONT = "font-family='sans-serif' font-size='15'"
DASHES = " stroke-dasharray='2 6'"


def svg_of(picture: Picture) -> bytes:
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}'>"
    parts = [head, f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>"]
    parts += [_stroke(stroke) for stroke in picture.strokes]
    parts += [f"<g {FONT}>", *map(_label, picture.labels), "</g>", "</svg>", ""]
    return "\n".join(parts).encode()


def _stroke(stroke: Stroke) -> str:
    """A single point gets a length, so that its round ends are drawn."""
    points = list(stroke.points) if len(stroke.points) > 1 else [*stroke.points] * 2
    path = " ".join(f"{x:g},{y:.1f}" for x, y in points)
    look = f"stroke='{stroke.colour}' stroke-width='{stroke.width}' stroke-linecap='round' stroke-linejoin='round'"
    return f"<polyline points='{path}' fill='none' {look}{DASHES if stroke.dashed else ''}/>"


def _label(label: Label) -> str:
    x, y = label.at
    return f"<text x='{x:g}' y='{y:.1f}' fill='{label.colour}' text-anchor='{label.anchor}'>{escape(label.text)}</text>"
