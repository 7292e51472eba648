"""The lines of charts: those of a run with others over them, or those of the points of a sweep."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.seed_groups import SeedGroup, same_but_for_seed
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.lines import OVERLAY_LOOK, Line
from rlhf_console.tui.drawing.run_panels import RunLines
from rlhf_console.tui.drawing.seed_lines import SeedLines
from rlhf_sdk.spec import Panel

WHEN = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}")
"""What stands behind the name in a run's id."""


@dataclass(frozen=True)
class Part:
    """Runs that are drawn alike: each by itself, or all as a `mean`.

    `look` None: each metric has its own. `short` is what legends call it, None: its name.
    """

    runs: tuple[OpenRun, ...]
    look: int | None
    name: str = ""
    mean: bool = False
    short: str | None = None


@dataclass(frozen=True)
class Drawn:
    """What is to be drawn: the `run`, or the `points` of a sweep by look, and over it what was marked, by place.

    `turned`: single runs that differ in their seeds alone as a mean, and points each run by itself.
    """

    run: OpenRun | None
    points: Mapping[int, SeedGroup]
    marked: Mapping[int, SeedGroup]
    turned: bool = False

    def parts(self) -> list[Part]:
        over = list(self._marked_points())
        single = {group.runs[0]: OVERLAY_LOOK + place for place, group in self.marked.items() if not group.name}
        if self.points or self.run is None:
            own = [Part((*group.runs,), look, group.name, not self.turned, "") for look, group in self.points.items()]
            return [*own, *over, *_singles(single, together=self.turned)]
        directory = self.run.live.directory
        others = {run: look for run, look in single.items() if run.live.directory != directory}
        groups = same_but_for_seed([self.run, *others]) if self.turned else [[self.run]]
        mates = groups[0][1:]
        own = [Part((*groups[0],), None, mean=bool(mates))]
        rest = {run: look for run, look in others.items() if run not in mates}
        return [*own, *over, *_singles(rest, together=self.turned)]

    def _marked_points(self) -> Iterator[Part]:
        for place, group in self.marked.items():
            if group.name:
                yield Part((*group.runs,), OVERLAY_LOOK + place, group.name, not self.turned)


def _singles(looks: Mapping[OpenRun, int], *, together: bool) -> list[Part]:
    """Runs that are no point's, in the look that each has; those of one config have the first one's."""
    runs = list(looks)
    names = dict(zip(runs, short_ids([run.live.record.id for run in runs]), strict=True))
    groups = same_but_for_seed(runs) if together else [[run] for run in runs]
    return [Part((*group,), looks[group[0]], names[group[0]], len(group) > 1) for group in groups]


class Overlaid:
    """Makes the lines, and keeps what was derived from one drawing to the next."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._known: dict[OpenRun, RunLines] = {}
        self._means: dict[tuple[OpenRun, ...], SeedLines] = {}

    def draw(self, drawn: Drawn) -> None:
        """From now on the lines are those of `drawn`."""
        self._parts = drawn.parts()
        wanted = [run for part in self._parts for run in part.runs]
        self._known = {run: self._known.get(run) or RunLines(run) for run in wanted}
        groups = [part.runs for part in self._parts if part.mean]
        self._means = {runs: self._means.get(runs) or SeedLines([self._known[run] for run in runs]) for runs in groups}

    @property
    def seeds(self) -> int:
        """Of how many runs the largest mean is; 0 without any."""
        return max((len(runs) for runs in self._means), default=0)

    @property
    def runs(self) -> list[RunLines]:
        return list(self._known.values())

    def of(self, panel: Panel, options: ChartOptions) -> list[Line]:
        return [line for part in self._parts for line in self._of_part(part, panel, options)]

    def _of_part(self, part: Part, panel: Panel, options: ChartOptions) -> Iterator[Line]:
        if part.mean:
            means = self._means[part.runs]
            yield from means.of(panel, options, name=part.name, look=part.look, short=part.short)
            return
        for place, run in enumerate(part.runs):
            for line in self._known[run].of(panel, options, name=part.name, look=part.look):
                yield replace(line, told=not place, short=part.short) if part.short is not None or place else line


def short_ids(ids: Sequence[str]) -> list[str]:
    """Run ids without the time of their start, where that still tells them apart."""
    short = [WHEN.sub("", each) for each in ids]
    return [name if short.count(name) == 1 else each for name, each in zip(short, ids, strict=True)]
