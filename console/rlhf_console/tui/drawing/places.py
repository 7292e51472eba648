"""Where steps lie on the x axis that somebody has chosen, and which step lies at a place."""

from __future__ import annotations

from bisect import bisect_right

from rlhf_console.runs.fold import RunSummary
from rlhf_console.runs.series import Series
from rlhf_console.tui.drawing.chart_options import Axis
from rlhf_console.tui.drawing.derived import Place, by_step

EPISODE = "episode"


def axes_of(summary: RunSummary) -> tuple[Axis, ...]:
    """Episodes only where the run counts them."""
    return ("step", "episode", "wall") if EPISODE in summary.metrics else ("step", "wall")


def place_on(axis: Axis, summary: RunSummary) -> Place:
    """Where a step lies on an axis."""
    if axis == "wall":
        return lambda _step, time: time - summary.first_time
    if axis == "episode":
        episodes = summary.metrics.get(EPISODE, Series())
        return lambda step, _time: _value_at(episodes, step)
    return by_step


def newest_place(axis: Axis, summary: RunSummary) -> float:
    """The place of the newest value of any metric; 0 before the first."""
    place = place_on(axis, summary)
    return max((place(each.steps[-1], each.times[-1]) for each in summary.metrics.values() if each.steps), default=0.0)


def place_of(step: int, axis: Axis, summary: RunSummary) -> float:
    """Where `step` lies."""
    series = _longest(summary)
    index = min(bisect_right(series.steps, step), len(series.steps)) - 1
    return place_on(axis, summary)(step, series.times[index] if index >= 0 else summary.first_time)


def step_at(place: float, axis: Axis, summary: RunSummary) -> int:
    """The last step at or before `place`."""
    if axis == "step":
        return round(place)
    series, place_of_step = _longest(summary), place_on(axis, summary)
    index = bisect_right(range(len(series.steps)), place, key=lambda i: place_of_step(series.steps[i], series.times[i]))
    return series.steps[index - 1] if index else 0


def step_when(time: float, summary: RunSummary) -> int:
    """The newest step that was finished at a Unix time; 0 before the first."""
    series = _longest(summary)
    finished = bisect_right(series.times, time)
    return series.steps[finished - 1] if finished else 0


def _longest(summary: RunSummary) -> Series:
    return max(summary.metrics.values(), key=lambda series: len(series.steps), default=Series())


def _value_at(series: Series, step: int) -> float:
    index = bisect_right(series.steps, step) - 1
    return series.values[index] if index >= 0 else 0.0
