"""A sweep that somebody looks at: its own events, and the runs at the points of its grid."""

from __future__ import annotations

from rlhf_console.runs.focus import Focus, OpenRun, Stage
from rlhf_console.runs.marks import Marks
from rlhf_console.runs.seed_groups import SeedGroup
from rlhf_console.runs.store import LiveRun
from rlhf_console.runs.sweeps import Point, points_of, short_names
from rlhf_sdk.states import State

MOST_POINTS = 6
"""As many as there are signs and colours."""


class SweepFocus(Focus):
    """The sweep itself is `shown`; `by_look` has the points that are drawn, by the colour and sign of each.

    Those are the marked ones, whose looks begin with `mark_look`, else the first; or `only` the one of that name.
    `stages` are those of the cells, where these are pipelines.
    """

    def __init__(self, opened: LiveRun, marks: Marks, mark_look: int, only: str = "") -> None:
        super().__init__(opened)
        self.points = points_of(opened.directory)
        self.by_look: dict[int, SeedGroup] = {}
        self._names = short_names(self.points)
        self._marks, self._mark_look, self._only = marks, mark_look, only
        self._groups: dict[tuple[str, str], SeedGroup] = {}
        self._lead: OpenRun | None = None

    @property
    def stages(self) -> list[Stage]:
        """One that any cell has begun has the id and the state of that cell's run."""
        return [self._stage_named(name) for name in (self.points[0].stages if self.points else ())]

    def _stage_named(self, name: str) -> Stage:
        begun = next((runs[0] for point in self.points if (runs := point.runs(name))), None)
        return Stage(name, begun.id, begun.state()) if begun else Stage(name, "", State.CREATED)

    @property
    def lead(self) -> OpenRun:
        """One of the runs that are drawn, the same as long as it is one; the sweep where none has logged anything."""
        runs = [run for group in self.by_look.values() for run in group.runs]
        if self._lead not in runs:
            self._lead = next((run for run in runs if run.live.summary.metrics), None)
        return self._lead or self.shown

    @property
    def drawn_plugin(self) -> str:
        return self.lead.live.record.plugin

    def read(self) -> bool:
        """Reads a piece of what is new in the sweep, and in each run that is drawn."""
        more, stage, drawn = super().read(), self.stage, {}
        for look, point in self._drawn_points().items():
            known = (point.id, stage)
            if known not in self._groups:
                self._groups[known] = SeedGroup.of_point(point, stage, self._names[point.name])
            drawn[look] = self._groups[known]
            more = drawn[look].read() or more
        self.by_look = drawn
        return more

    def _drawn_points(self) -> dict[int, Point]:
        """By look; other marks keep theirs."""
        own = {point.id: point for point in self.points}
        places = self._marks.by_place.items()
        marked = {self._mark_look + place: own[each.id] for place, each in places if each.id in own}
        if marked and not self._only:
            return marked
        taken = {self._mark_look + place for place, each in places if each.id not in own}
        free = [look for look in range(MOST_POINTS) if look not in taken]
        return dict(zip(free, (point for point in self.points if self._only in ("", point.name)), strict=False))

    def _follow(self) -> None:
        """The sweep stays what is shown."""
