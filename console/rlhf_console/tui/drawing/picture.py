"""A chart as strokes and labels in pixels, from which its picture files are made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rlhf_console.headlines import shortest_names
from rlhf_console.printable import printable
from rlhf_console.scale import (
    Scale,
    View,
    clock_ticks,
    figure,
    live_view,
    step_ticks,
    tick_texts,
    value_scale,
)
from rlhf_console.svg import INK, Label, Picture, Point, Stroke
from rlhf_console.tui.drawing.axes import NON_FINITE_MARK, WORDS, place_text
from rlhf_console.tui.drawing.bands import BandColumns, with_bands
from rlhf_console.tui.drawing.columns import Columns
from rlhf_console.tui.drawing.legend import value_text
from rlhf_console.tui.drawing.lines import MARKERS, Line, marker
from rlhf_console.tui.drawing.plot import Frame

WIDTH, HEIGHT = 1200, 675
LEFT, RIGHT, TOP, BOTTOM = 110, 30, 120, 60
ACROSS, DOWN = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
TICKS_ACROSS, TICKS_DOWN = 8, 7
FIRST_LINE, LINE_HEIGHT, LEGEND_LINES = 32, 24, 3
LEGEND_GAP = 30
FONT_SIZE = 15
LETTER = 8.5
"""About the width of a letter."""

GRID, FAINT, ALARM, ACCENT = "#d8d8d8", "#b8b8b8", "#c00000", "#0050a0"
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#606060")
"""Okabe and Ito's, on white."""

TARGET_DASHES = "2 6"
MARK_COLOURS = {"alarm": ALARM, "accent": ACCENT}


def picture_of(title: str, unit: str, lines: Sequence[Line], frame: Frame) -> Picture:
    """What the chart shows, larger."""
    newest = max((line.xs[-1] for line in lines if line.xs), default=0.0)
    view = frame.options.view or live_view(newest, frame.total)
    columns = [_gathered(line, view, log=frame.options.log) for line in lines]
    bands = [_gathered_band(line, view, log=frame.options.log) for line in lines]
    ranges = [found for each in columns if (found := each.range) is not None] or [(0.0, 1.0)]
    ends = with_bands(min(low for low, _ in ranges), max(high for _, high in ranges), bands)
    scale = value_scale(*ends, TICKS_DOWN)
    strokes = [*_grid(scale), *_target(frame, scale)]
    for line, band in zip(lines, bands, strict=True):
        strokes += [*_edge(band.low, scale, line.look), *_edge(band.high, scale, line.look)]
    for line, each in zip(lines, columns, strict=True):
        strokes += _strokes(each, scale, FAINT if line.faint else _colour(line.look))
    labels = [*_heading(title, unit, frame), *_legend(lines), *_ticks(scale, view, frame)]
    labels += [*_marks(frame, view), *_heads(lines, columns, scale), *_broken(columns)]
    return Picture(strokes, labels, WIDTH, HEIGHT, FONT_SIZE)


def _gathered(line: Line, view: View, *, log: bool) -> Columns:
    columns = Columns(view, ACROSS + 1, log=log)
    columns.follow(line.xs, line.values)
    return columns


def _gathered_band(line: Line, view: View, *, log: bool) -> BandColumns:
    band = BandColumns(view, ACROSS + 1, log=log)
    band.follow(line)
    return band


def _edge(columns: Columns, scale: Scale, look: int) -> Iterator[Stroke]:
    """Of a band, dotted."""
    for stroke in _strokes(columns, scale, _colour(look)):
        yield Stroke(stroke.points, stroke.colour, 1, TARGET_DASHES)


def _colour(look: int) -> str:
    return SERIES[look % len(MARKERS)]


def _down(value: float, scale: Scale) -> float:
    return TOP + (1.0 - scale.share(value)) * DOWN


def _strokes(columns: Columns, scale: Scale, colour: str) -> Iterator[Stroke]:
    """One stroke for each stretch without a gap."""
    points: list[Point] = []
    for x in sorted(columns.extents):
        extent = columns.extents[x]
        if points and not extent.joined:
            yield Stroke(points, colour)
            points = []
        values = dict.fromkeys((extent.first, extent.high, extent.low, extent.last))
        points += [(float(LEFT + x), _down(value, scale)) for value in values]
    if points:
        yield Stroke(points, colour)


def _grid(scale: Scale) -> list[Stroke]:
    rim = [(LEFT, TOP), (LEFT, TOP + DOWN), (LEFT + ACROSS, TOP + DOWN)]
    rules = [[(LEFT, _down(tick, scale)), (LEFT + ACROSS, _down(tick, scale))] for tick in scale.ticks]
    return [*(Stroke(rule, GRID, 1) for rule in rules), Stroke(rim, INK, 1)]


def _target(frame: Frame, scale: Scale) -> list[Stroke]:
    if frame.target is None:
        return []
    values = [frame.target.value, frame.target.low, frame.target.high]
    if frame.options.log:
        values = [math.log10(value) for value in values if value > 0]
    rows = [_down(value, scale) for value in values if scale.low <= value <= scale.high]
    return [Stroke([(LEFT, row), (LEFT + ACROSS, row)], ALARM, 1, TARGET_DASHES) for row in rows]


def _heading(title: str, unit: str, frame: Frame) -> list[Label]:
    about = [f"({unit})" if unit else "", frame.options.in_words()]
    return [Label((LEFT, FIRST_LINE), printable("  ".join(part for part in (title, *about) if part)))]


def _legend(lines: Sequence[Line]) -> list[Label]:
    """Side by side, in as many rows as there is room for; the last lines of very many are left out."""
    shown = [line for line in lines if line.in_legend]
    names = shortest_names([line.name for line in shown])
    labels, x, row = [], float(LEFT), 1
    for line, name in zip(shown, names, strict=True):
        text = printable(f"{marker(line.look)} {name} {value_text(line)}")
        if x > LEFT and x + len(text) * LETTER > WIDTH:
            x, row = float(LEFT), row + 1
        labels.append(Label((x, FIRST_LINE + row * LINE_HEIGHT), text, _colour(line.look)))
        x += len(text) * LETTER + LEGEND_GAP
    return [label for label in labels if label.at[1] <= FIRST_LINE + LEGEND_LINES * LINE_HEIGHT]


def _ticks(scale: Scale, view: View, frame: Frame) -> list[Label]:
    texts = [figure(10.0**tick) for tick in scale.ticks] if frame.options.log else tick_texts(scale)
    beside = [
        Label((LEFT - 10, _down(tick, scale) + 5), text, anchor="end")
        for tick, text in zip(scale.ticks, texts, strict=True)
    ]
    axis = frame.options.axis
    places = clock_ticks(view, TICKS_ACROSS) if axis == "wall" else step_ticks(view, TICKS_ACROSS)
    below = [
        Label((_across(place, view), TOP + DOWN + 22), place_text(place, axis), anchor="middle") for place in places
    ]
    return [*beside, *below, Label((LEFT + ACROSS, HEIGHT - 14), WORDS[axis].strip(), anchor="end")]


def _across(place: float, view: View) -> float:
    return LEFT + view.column(place, ACROSS + 1)


def _marks(frame: Frame, view: View) -> list[Label]:
    return [
        Label((_across(mark.x, view), TOP + DOWN - 4), mark.glyph, MARK_COLOURS.get(mark.style, INK), "middle")
        for mark in frame.marks
        if view.first <= mark.x <= view.last
    ]


def _heads(lines: Sequence[Line], columns: Sequence[Columns], scale: Scale) -> list[Label]:
    """Each line's sign at its newest value."""
    found = []
    for line, each in zip(lines, columns, strict=True):
        if each.extents and line.in_legend:
            x = max(each.extents)
            at = (float(LEFT + x), _down(each.extents[x].last, scale) + 5)
            found.append(Label(at, marker(line.look), _colour(line.look), "middle"))
    return found


def _broken(columns: Sequence[Columns]) -> list[Label]:
    places = sorted({x for each in columns for x in each.non_finite})
    return [Label((float(LEFT + x), TOP + DOWN + 5), NON_FINITE_MARK, ALARM, "middle") for x in places]
