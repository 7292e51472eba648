"""Round limits and ticks for both axes, and figures in few characters."""

from __future__ import annotations

import math
from dataclasses import dataclass

NICE = (1.0, 2.0, 2.5, 5.0, 10.0)
LARGEST, SMALLEST = 1e300, 1e-300
FLAT = 1e-9
"""A range narrower than this share of its values counts as one value."""

SHORTEST_VIEW = 8
HOUR = 3600
CLOCK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, HOUR)
SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Scale:
    """The y range of a chart, with its ticks from bottom to top."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """0 at the bottom, 1 at the top; values outside stay at the rim."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


@dataclass(frozen=True)
class View:
    """The steps that a chart shows, from `first` at the left rim to `last` at the right one."""

    first: float
    last: float

    def column(self, step: float, width: int) -> int:
        """The column, of `width`, where `step` is drawn."""
        share = (step - self.first) / (self.last - self.first)
        return min(max(round(share * (width - 1)), 0), width - 1)


def nice_step(span: float, count: int) -> float:
    """The smallest of 1, 2, 2.5, 5 x 10^n that covers `span` in at most `count` steps."""
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in NICE if step * power >= raw * (1 - FLAT))


def value_scale(low: float, high: float, labels: int) -> Scale:
    """Round limits around the values, with about `labels` ticks, at least two.

    The limits are multiples of half the distance of the ticks, so that they change seldom while a run grows.
    """
    low, high = (min(max(end, -LARGEST), LARGEST) for end in (low, high))
    if high - low <= max(FLAT * max(abs(low), abs(high)), SMALLEST):
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    step = nice_step(high - low, labels - 1)
    first, last = math.floor(2 * low / step + FLAT), math.ceil(2 * high / step - FLAT)
    if last // 2 - -(-first // 2) < 1:
        first, last = first // 2 * 2, -(-last // 2) * 2
    ticks = tuple(index * step for index in range(-(-first // 2), last // 2 + 1))
    return Scale(first * step / 2, last * step / 2, ticks)


def live_view(newest: float, total: int) -> View:
    """From step 0 to the whole run, or to the least half, quarter, eighth, ... of it that holds `newest`.

    While a run grows, what is drawn stands still, and then shrinks to half, a few times in all. Without a `total` the
    view doubles.
    """
    last = float(total or SHORTEST_VIEW)
    while last < newest:
        last *= 2
    while last / 2 >= max(newest, SHORTEST_VIEW):
        last /= 2
    return View(0.0, last)


def step_ticks(view: View, count: int) -> list[int]:
    """At most about `count` round steps within the view."""
    distance = max(math.ceil(nice_step(view.last - view.first, count)), 1)
    start = math.ceil(view.first / distance) * distance
    return list(range(start, math.floor(view.last) + 1, distance))


def clock_ticks(view: View, count: int) -> list[int]:
    """At most about `count` seconds within the view that are round on a clock."""
    wanted = (view.last - view.first) / count
    distance = next((each for each in CLOCK_STEPS if each >= wanted), 0) or math.ceil(wanted / HOUR) * HOUR
    start = math.ceil(view.first / distance) * distance
    return list(range(start, math.floor(view.last) + 1, distance))


def tick_texts(scale: Scale) -> list[str]:
    """The ticks in one notation, with as many decimals as tell them apart."""
    largest, step = max(abs(scale.low), abs(scale.high)), scale.ticks[1] - scale.ticks[0]
    if largest < 1e-3 or largest >= 1e15:
        return [_short_power(tick) for tick in scale.ticks]
    divisor, suffix = next((each for each in SUFFIXES if largest >= 10 * each[0]), (1.0, ""))
    decimals = _decimals(step / divisor)
    return [f"{tick / divisor + 0.0:.{decimals}f}{suffix if tick else ''}" for tick in scale.ticks]


def _decimals(step: float) -> int:
    """Digits behind the point that `step` needs, at most six."""
    return next((count for count in range(6) if math.isclose(round(step, count), step, rel_tol=1e-6)), 6)


def _short_power(value: float) -> str:
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def figure(value: float) -> str:
    """At most about seven characters: 12, 0.523, 45.1, 1.2e-5, NaN."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    if abs(value) < 1e-3 or abs(value) >= 1e6:
        return _short_power(value)
    return f"{value:.{max(3 - max(math.floor(math.log10(abs(value))), 0), 0)}f}"
