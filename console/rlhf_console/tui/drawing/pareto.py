"""What a sweep gained against what it cost: a sign for each point of its grid, with the intervals as a cross."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import ascii_lowercase
from typing import Any

import msgspec

from rlhf_console.runs.sweeps import SWEEP
from rlhf_console.scale import Scale, tick_texts, value_scale
from rlhf_console.tui.drawing.axes import AXIS, value_axis
from rlhf_console.tui.drawing.canvas import Canvas, dot_row
from rlhf_console.tui.drawing.cells import Row, fit, flow, join, text_cells
from rlhf_console.tui.drawing.lines import MARKERS, series_style

HEIGHT = 12
TICK_EVERY = 12
SIGNS = MARKERS + ascii_lowercase


class Figure(msgspec.Struct):
    """Of one point of the grid; `half_width` of its 95 % interval, None of one seed."""

    mean: float
    half_width: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        half = self.half_width or 0.0
        return self.mean - half, self.mean + half


class Found(msgspec.Struct):
    """A sweep's result, as far as it is drawn; `front`: the points that no other one beats in gain and cost."""

    rows: dict[str, dict[str, Figure]]
    gain: str
    cost: str
    front: list[str]

    @property
    def points(self) -> dict[str, tuple[Figure, Figure]]:
        """By name: gain and cost, where there are both."""
        both = {self.gain, self.cost}
        return {name: (row[self.gain], row[self.cost]) for name, row in self.rows.items() if both <= row.keys()}


def pareto_rows(results: Mapping[str, Any], width: int) -> list[Row]:
    """Nothing where the result is no sweep's, or has no figure that is a cost."""
    try:
        found = msgspec.convert(results.get(SWEEP), Found)
    except msgspec.ValidationError:
        return []
    if not found.points or width < AXIS + 2 * TICK_EVERY:
        return []
    title = join([
        text_cells(f"{found.gain} against {found.cost}", "title"),
        text_cells("means over seeds, 95 % intervals", "dim"),
    ])  # fmt: skip
    return [fit(title, width), *_picture(found, width), [], *_names(found, width), []]


def _picture(found: Found, width: int) -> list[Row]:
    gains, costs = zip(*found.points.values(), strict=True)
    up, across = _scale(gains, HEIGHT // 2), _scale(costs, (width - AXIS) // TICK_EVERY)
    canvas = Canvas(width - AXIS, HEIGHT)
    for place, (gain, cost) in enumerate(found.points.values()):
        x, y = _dot_column(cost.mean, across, canvas), dot_row(gain.mean, up, canvas)
        low, high = (_dot_column(end, across, canvas) for end in cost.ends)
        bottom, top = (dot_row(end, up, canvas) for end in gain.ends)
        for start, end in (((low, y), (high, y)), ((x, top), (x, bottom))):
            canvas.line(start, end, series_style(place))
    for place, (gain, cost) in enumerate(found.points.values()):
        at = _dot_column(cost.mean, across, canvas), dot_row(gain.mean, up, canvas)
        canvas.put(*at, _sign(place), series_style(place))
    labels = {dot_row(tick, up, canvas) // 4: text for tick, text in zip(up.ticks, tick_texts(up), strict=True)}
    return [*(value_axis(labels.get(y)) + row for y, row in enumerate(canvas.rows())), _bottom(across, canvas)]


def _scale(figures: Sequence[Figure], labels: int) -> Scale:
    return value_scale(min(each.ends[0] for each in figures), max(each.ends[1] for each in figures), max(labels, 2))


def _dot_column(value: float, scale: Scale, canvas: Canvas) -> int:
    return round(scale.share(value) * (canvas.width * 2 - 1))


def _bottom(scale: Scale, canvas: Canvas) -> Row:
    axis = text_cells(" " * (AXIS - 1) + "└" + "─" * canvas.width, "dim")
    for tick, text in zip(scale.ticks, tick_texts(scale), strict=True):
        start = min(AXIS + _dot_column(tick, scale, canvas) // 2, len(axis) - len(text))
        axis[start : start + len(text)] = text_cells(text, "dim")
    return axis


def _sign(place: int) -> str:
    return SIGNS[place % len(SIGNS)]


def _names(found: Found, width: int) -> list[Row]:
    return flow([join(list(_name(found, place, name)), gap=1) for place, name in enumerate(found.points)], width)


def _name(found: Found, place: int, name: str) -> Iterator[Row]:
    yield text_cells(_sign(place), series_style(place))
    yield text_cells(name)
    yield text_cells("on the front" if name in found.front else "beaten", "good" if name in found.front else "dim")
