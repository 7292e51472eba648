"""How somebody wants charts drawn; the same for all charts of a run, so that they can be read together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rlhf_console.scale import View

Axis = Literal["step", "episode", "wall"]

SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)
CLOSEST = 4.0
"""The shortest stretch of the x axis that can be looked at."""


@dataclass(frozen=True)
class ChartOptions:
    """`view` None follows what comes; `cursor` is a place on the x axis, None: no crosshair.

    `turned`: points of sweeps each run by itself, and runs that differ in their seeds alone as a mean.
    """

    log: bool = False
    smoothing: float = 0.0
    axis: Axis = "step"
    view: View | None = None
    cursor: float | None = None
    turned: bool = False

    def with_next_smoothing(self) -> ChartOptions:
        place = SMOOTHINGS.index(self.smoothing)
        return replace(self, smoothing=SMOOTHINGS[(place + 1) % len(SMOOTHINGS)])

    def with_next_axis(self, axes: tuple[Axis, ...]) -> ChartOptions:
        """Places on one axis mean nothing on another, so view and cursor go."""
        place = axes.index(self.axis) if self.axis in axes else -1
        return replace(self, axis=axes[(place + 1) % len(axes)], view=None, cursor=None)

    def zoomed(self, live: View, newest: float, factor: float) -> ChartOptions:
        """Closer (`factor` below 1) or wider, around the cursor, or at the newest end; wide enough follows again."""
        view = self.view or View(live.first, min(live.last, newest) or live.last)
        centre = self.cursor if self.cursor is not None else view.last
        span = max((view.last - view.first) * factor, CLOSEST)
        share = (centre - view.first) / (view.last - view.first)
        first = max(centre - span * share, live.first)
        last = min(first + span, live.last)
        whole = first <= live.first and last >= min(live.last, newest)
        return replace(self, view=None if whole else View(first, last))

    def panned(self, live: View, share: float) -> ChartOptions:
        """Moved by a share of what is in sight, within what there is."""
        if self.view is None:
            return self
        span = self.view.last - self.view.first
        first = min(max(self.view.first + share * span, live.first), max(live.last - span, live.first))
        return replace(self, view=View(first, first + span))

    def around_cursor(self, live: View) -> ChartOptions:
        """Moved, if need be, so that the cursor is in sight."""
        if self.view is None or self.cursor is None or self.view.first <= self.cursor <= self.view.last:
            return self
        middle = (self.view.first + self.view.last) / 2
        return self.panned(live, (self.cursor - middle) / (self.view.last - self.view.first))

    def pointed(self, live: View, newest: float, columns: int) -> ChartOptions:
        """The crosshair moved by so many hundredths of what is in sight, from the newest end at first."""
        view = self.view or live
        if self.cursor is None:
            return replace(self, cursor=min(newest, view.last))
        moved = self.cursor + columns * max((view.last - view.first) / 100, 1.0)
        return replace(self, cursor=min(max(round(moved), view.first), min(newest, view.last)))

    def in_words(self) -> str:
        """What differs from the usual."""
        parts = [
            "log" if self.log else "",
            f"smoothed {self.smoothing:g}" if self.smoothing else "",
            f"by {self.axis}" if self.axis != "step" else "",
            "zoomed" if self.view else "",
        ]
        return "  ".join(part for part in parts if part)
