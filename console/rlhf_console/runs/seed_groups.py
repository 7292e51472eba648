"""Runs that differ in their seeds alone, read together as far as charts need them; and those that were marked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rlhf_console.runs.focus import PIECE, OpenRun
from rlhf_console.runs.marks import Marked, Marks
from rlhf_console.runs.store import LiveRun
from rlhf_console.runs.sweeps import Point
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

SEED = "seed"


class SeedGroup:
    """`find` names the runs there are by now, of `wanted`; `name` is empty for a run by itself."""

    def __init__(self, find: Callable[[], Sequence[RunDir]], *, name: str = "", wanted: int = 1) -> None:
        self.name, self.wanted = name, wanted
        self._find = find
        self._open: dict[str, OpenRun] = {}

    @classmethod
    def of(cls, marked: Marked, plugin: str) -> SeedGroup:
        """Of a point with pipelines the stages that `plugin` makes."""
        if isinstance(marked, Point):
            return cls.of_point(marked, marked.stage_of(plugin), marked.short)
        return cls(lambda: [marked])

    @classmethod
    def of_point(cls, point: Point, stage: str, name: str) -> SeedGroup:
        return cls(lambda: point.runs(stage), name=name, wanted=len(point.cells))

    @property
    def runs(self) -> list[OpenRun]:
        return list(self._open.values())

    def read(self) -> bool:
        """Reads a piece of each; True if there may be more. What can't be read is left out."""
        if len(self._open) < self.wanted:
            for directory in self._find():
                if directory.id not in self._open:
                    with suppress(UserError):
                        self._open[directory.id] = OpenRun(LiveRun.open(directory))
        unfinished = [run for run in self.runs if run.live.refresh(PIECE)]
        return bool(unfinished)


class Overlays:
    """The marked runs and points, to be drawn over the charts of a run that `plugin` made."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._groups: dict[tuple[str, str], SeedGroup] = {}
        self.by_place: dict[int, SeedGroup] = {}
        """By the place that their mark has; those that have been found."""

    @property
    def runs(self) -> list[OpenRun]:
        return [run for group in self.by_place.values() for run in group.runs]

    def read(self, plugin: str, leave_out: Collection[str] = ()) -> bool:
        """Reads a piece of each but those whose ids are to be left out; True if there may be more."""
        more, found = False, {}
        for place, marked in self._marks.by_place.items():
            if marked.id in leave_out:
                continue
            group = self._groups.setdefault((marked.id, plugin), SeedGroup.of(marked, plugin))
            more = group.read() or more
            if group.runs:
                found[place] = group
        self.by_place = found
        return more


def same_but_for_seed(runs: Sequence[OpenRun]) -> list[list[OpenRun]]:
    """The runs in groups that were made by one plugin with one config, seeds left out; in order."""
    groups: list[tuple[object, list[OpenRun]]] = []
    for run in runs:
        record = run.live.record
        key = record.plugin, without_seeds(record.config)
        for known, members in groups:
            if known == key:
                members.append(run)
                break
        else:
            groups.append((key, [run]))
    return [members for _, members in groups]


def without_seeds(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: without_seeds(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key != SEED
    }
