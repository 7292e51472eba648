"""What was measured over a run, in columns: a million values take eight megabytes."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from operator import attrgetter, lt

from rlhf_sdk.events import MetricsLogged

_steps_of, _times_of, _values_of = attrgetter("step"), attrgetter("time"), attrgetter("values")


_revisions = count(1)


def new_revision() -> int:
    """A number that nothing else has."""
    return next(_revisions)


@dataclass
class Series:
    """One metric over the run: strictly increasing `steps`, with the value and the Unix time of each.

    `revision` is another number whenever values that were there have been superseded, and no two series have the same.
    """

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    times: array[float] = field(default_factory=lambda: array("d"))
    revision: int = field(default_factory=new_revision, compare=False)

    @classmethod
    def of(cls, steps: Iterable[int], values: Iterable[float], times: Iterable[float]) -> Series:
        return cls(array("q", steps), array("d", values), array("d", times))

    def forget_after(self, step: int) -> None:
        self._keep(bisect_right(self.steps, step))

    def _keep(self, count: int) -> None:
        if count < len(self.values):
            del self.steps[count:], self.values[count:], self.times[count:]
            self.revision = new_revision()

    def add(self, step: int, value: float, time: float) -> None:
        """Adds the value at `step`; what stood there or later is superseded."""
        if self.steps and self.steps[-1] >= step:
            self.forget_after(step - 1)
        self.steps.append(step)
        self.values.append(value)
        self.times.append(time)

    def add_highest(self, step: int, value: float, time: float) -> None:
        """The same, but of the values at one step the highest stays."""
        if not self.steps or self.steps[-1] != step or value > self.values[-1]:
            self.add(step, value, time)

    @property
    def last(self) -> float | None:
        return self.values[-1] if self.values else None


class MetricLog:
    """Every metric that a run logged, `by_name`.

    Those that have been in every event so far share their `steps` and `times`. One that is missing once, or comes
    later, gets columns of its own.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Series] = {}
        self._together: dict[str, Series] = {}
        self._steps, self._times = array("q"), array("d")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MetricLog) and self.by_name == other.by_name

    def log(self, event: MetricsLogged) -> None:
        """Takes in the values of one step; what any of them had there or later is superseded."""
        if not event.values:
            return
        if not self.by_name:
            self._together = {name: Series(self._steps, array("d"), self._times) for name in event.values}
            self.by_name.update(self._together)
        if event.values.keys() == self._together.keys() and self._is_next(event):
            self._steps.append(event.step)
            self._times.append(event.time)
            for name, value in event.values.items():
                self._together[name].values.append(value)
        else:
            self._log_apart(event)

    def log_all(self, events: Sequence[MetricsLogged]) -> None:
        """The same as `log` of each, by columns where all have the same metrics and their steps increase."""
        for event in events[:1]:
            self.log(event)
        rest = events[1:]
        steps, values = array("q", map(_steps_of, rest)), list(map(_values_of, rest))
        if not steps or not self._continue(steps, values):
            for event in rest:
                self.log(event)
            return
        self._steps.extend(steps)
        self._times.extend(map(_times_of, rest))
        together = array("d", chain.from_iterable(map(dict.values, values)))
        for place, series in enumerate(self._together.values()):
            series.values.extend(together[place :: len(self._together)])

    def _continue(self, steps: array[int], values: list[dict[str, float]]) -> bool:
        """Whether each has the same names in the same order."""
        ascending = all(map(lt, chain(self._steps[-1:], steps), steps))
        return bool(self._together) and ascending and set(map(tuple, values)) == {tuple(self._together)}

    def forget_after(self, step: int) -> None:
        kept = bisect_right(self._steps, step)
        for name, series in self.by_name.items():
            if name not in self._together:
                series.forget_after(step)
            elif kept < len(series.values):
                del series.values[kept:]
                series.revision = new_revision()
        del self._steps[kept:], self._times[kept:]

    def _is_next(self, event: MetricsLogged) -> bool:
        return not self._steps or self._steps[-1] < event.step

    def _log_apart(self, event: MetricsLogged) -> None:
        """Metrics that are not in this event part from those that are; if none is, or it comes again, all go apart."""
        missing = self._together.keys() - event.values.keys()
        stay = self._is_next(event) and len(missing) < len(self._together)
        self._part(missing if stay else set(self._together))
        if stay:
            self._steps.append(event.step)
            self._times.append(event.time)
        for name, value in event.values.items():
            if name in self._together:
                self._together[name].values.append(value)
            else:
                self.by_name.setdefault(name, Series()).add(event.step, value, event.time)

    def _part(self, names: Iterable[str]) -> None:
        for name in names:
            series = self._together.pop(name)
            series.steps, series.times = self._steps[:], self._times[:]
