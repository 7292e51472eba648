"""The plots of a report: lines in one frame, as strokes and labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rlhf_console.scale import Scale, View, figure, step_ticks, tick_texts, value_scale
from rlhf_console.svg import Label, Picture, Point, Stroke

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666", "#b8a500")
"""Okabe and Ito's (2008), which colour-blind people tell apart; the last two are darkened to be seen on white."""

DASHES = ("", "6 3", "2 2", "8 3 2 3", "1 3", "10 4", "4 4 1 4", "12 3 3 3")
"""Lines differ in these too, so that a plot can be printed in grey."""

WIDTH, HEIGHT, FONT_SIZE = 560, 240, 11
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 26, 34
LEGEND_LINE = 16
TICKS = 5
GRID, RIM, GUIDE, TEXT, GUIDE_TEXT = "#e4e4e4", "#888888", "#999999", "#555555", "#777777"
GUIDE_DASHES = "3 4"
DOT = 5.0


@dataclass(frozen=True)
class Line:
    """Values `ys` [N] at `xs` [N], which grow; one that is not finite is a gap. `dotted`: each value is a dot too."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    dotted: bool = False


@dataclass(frozen=True)
class Guide:
    """A value to compare with, drawn across the plot: what somebody else measured, or a target; `upright`: of x."""

    value: float
    label: str
    upright: bool = False


def plot(
    title: str, unit: str, lines: Sequence[Line], guides: Sequence[Guide] = (), *, x_label: str = "step"
) -> Picture:
    """Lines and guides to scale, with a legend below where there are several."""
    frame = _Frame.around(lines, guides)
    legend = LEGEND_LINE * math.ceil(len(lines) / 2) if len(lines) > 1 else 0
    strokes, labels = [*_grid(frame)], [*_heading(title, unit), *_ticks(frame, x_label)]
    for place, guide in enumerate(guides):
        strokes.append(_guide(frame, guide))
        labels.append(_guide_label(frame, guide, place))
    for place, line in enumerate(lines):
        strokes += _strokes(frame, line, place)
    for place, line in enumerate(lines if legend else ()):
        x, y = LEFT + place % 2 * (WIDTH - LEFT) / 2, HEIGHT + place // 2 * LEGEND_LINE + 4
        strokes.append(Stroke([(x, y), (x + 26, y)], _colour(place), 2, _dashes(place)))
        labels.append(Label((x + 32, y + 4), line.name))
    return Picture(strokes, labels, WIDTH, HEIGHT + legend, FONT_SIZE)


@dataclass(frozen=True)
class _Frame:
    """`across` where x is no count of steps."""

    view: View
    scale: Scale
    across: Scale | None

    @classmethod
    def around(cls, lines: Sequence[Line], guides: Sequence[Guide]) -> _Frame:
        values = [value for line in lines for value in line.ys if math.isfinite(value)]
        values += [guide.value for guide in guides if not guide.upright]
        scale = value_scale(min(values, default=0.0), max(values, default=1.0), TICKS)
        places = [place for line in lines for place in (*line.xs[:1], *line.xs[-1:])]
        places += [guide.value for guide in guides if guide.upright]
        first, last = min(places, default=0.0), max(places, default=1.0)
        if all(place == int(place) for place in places):
            return cls(View(first, last if last > first else first + 1.0), scale, None)
        across = value_scale(first, last, TICKS)
        return cls(View(across.low, across.high), scale, across)

    def x(self, place: float) -> float:
        share = (place - self.view.first) / (self.view.last - self.view.first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return TOP + (1 - self.scale.share(value)) * (HEIGHT - TOP - BOTTOM)


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _dashes(place: int) -> str:
    return DASHES[place % len(DASHES)]


def _heading(title: str, unit: str) -> list[Label]:
    return [Label((8, 16), title + (f" ({unit})" if unit else ""), bold=True)]


def _grid(frame: _Frame) -> Iterator[Stroke]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for tick in frame.scale.ticks:
        yield Stroke([(LEFT, frame.y(tick)), (right, frame.y(tick))], GRID, 1)
    yield Stroke([(LEFT, TOP), (LEFT, bottom), (right, bottom)], RIM, 1)


def _ticks(frame: _Frame, x_label: str) -> Iterator[Label]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for tick, text in zip(frame.scale.ticks, tick_texts(frame.scale), strict=True):
        yield Label((LEFT - 6, frame.y(tick) + 4), text, TEXT, "end")
    if frame.across:
        below = list(zip(frame.across.ticks, tick_texts(frame.across), strict=True))
    else:
        below = [(step, f"{step:,}".replace(",", " ")) for step in step_ticks(frame.view, TICKS)]
    for place, text in below:
        yield Label((frame.x(place), bottom + 15), text, TEXT, "middle")
    yield Label((right, bottom + 29), x_label, TEXT, "end")


def _guide(frame: _Frame, guide: Guide) -> Stroke:
    if guide.upright:
        x = frame.x(guide.value)
        return Stroke([(x, TOP), (x, HEIGHT - BOTTOM)], GUIDE, 1, GUIDE_DASHES)
    y = frame.y(guide.value)
    return Stroke([(LEFT, y), (WIDTH - RIGHT, y)], GUIDE, 1, GUIDE_DASHES)


def _guide_label(frame: _Frame, guide: Guide, place: int) -> Label:
    """Beside an upright one, on the side where there is more room, and each a line lower than the one before."""
    text = f"{guide.label}: {figure(guide.value)}"
    if not guide.upright:
        return Label((WIDTH - RIGHT - 4, frame.y(guide.value) - 4), text, GUIDE_TEXT, "end")
    x, y = frame.x(guide.value), HEIGHT - BOTTOM - 6 - place * (FONT_SIZE + 3)
    return Label((x + 4, y), text, GUIDE_TEXT) if x < WIDTH / 2 else Label((x - 4, y), text, GUIDE_TEXT, "end")


def _strokes(frame: _Frame, line: Line, place: int) -> Iterator[Stroke]:
    for piece in _pieces(frame, line):
        if len(piece) == 1:
            yield Stroke(piece, _colour(place), DOT)
            continue
        yield Stroke(piece, _colour(place), 1.6, _dashes(place))
        if line.dotted:
            yield from (Stroke([point], _colour(place), DOT) for point in piece)


def _pieces(frame: _Frame, line: Line) -> list[list[Point]]:
    """The points between the gaps, of each column of pixels its first, lowest, highest and last alone."""
    pieces: list[list[Point]] = [[]]
    for place, value in zip(line.xs, line.ys, strict=True):
        if math.isfinite(value):
            pieces[-1].append((frame.x(place), frame.y(value)))
        elif pieces[-1]:
            pieces.append([])
    return [_thinned(piece) for piece in pieces if piece]


def _thinned(points: Sequence[Point]) -> list[Point]:
    kept: list[Point] = []
    start = 0
    for end in range(1, len(points) + 1):
        if end == len(points) or round(points[end][0]) != round(points[start][0]):
            column = range(start, end)
            lowest, highest = (choose(column, key=lambda i: points[i][1]) for choose in (min, max))
            kept += [points[i] for i in sorted({start, lowest, highest, end - 1})]
            start = end
    return kept
