"""Runs that somebody has marked, to see them together; each keeps its place, and with it its colour."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from rlhf_console.runs.state_file import StateFile
from rlhf_console.runs.sweeps import OF_POINT, Point
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

MOST = 3

Marked = RunDir | Point
"""A run, or those at one point of a sweep as one."""


class Marks:
    """At most three, so that they can still be told apart; one gets the place that it had last, if that is free."""

    def __init__(self) -> None:
        self._places: list[Marked | None] = [None] * MOST
        self._last = StateFile("marks.json")

    @property
    def by_place(self) -> dict[int, Marked]:
        return {place: marked for place, marked in enumerate(self._places) if marked is not None}

    @property
    def runs(self) -> list[RunDir]:
        """Each of them, also of points."""
        found = [each.runs() if isinstance(each, Point) else [each] for each in self.by_place.values()]
        return [run for runs in found for run in runs]

    def turn(self, marked: Marked) -> None:
        """Marks it, or takes its mark away; of a fourth nothing comes."""
        if self.place_of(marked.id) is not None:
            self._drop(marked.id)
        elif None in self._places:
            place = self._free_place(marked.id)
            self._places[place] = marked
            with suppress(UserError):
                self._last.set(marked.id, place)

    def turn_all(self, points: Sequence[Point]) -> int:
        """Marks as many as there is room for, or takes all their marks away; how many are marked then."""
        marked = [point for point in points if self.place_of(point.id) is not None]
        for point in marked or points[: self._places.count(None)]:
            self.turn(point)
        return sum(self.place_of(point.id) is not None for point in points)

    def _free_place(self, marked_id: str) -> int:
        """A damaged memory is none."""
        last: object = None
        with suppress(UserError):
            last = self._last.read().get(marked_id)
        free = [place for place in range(MOST) if self._places[place] is None]
        return next((place for place in free if place == last), free[0])

    def forget(self, run_id: str) -> None:
        """A run that is gone, with the points of a sweep."""
        for marked in self.by_place.values():
            if marked.id == run_id or marked.id.startswith(f"{run_id}{OF_POINT}"):
                self._drop(marked.id)

    def _drop(self, marked_id: str) -> None:
        self._places = [None if each is not None and each.id == marked_id else each for each in self._places]

    def place_of(self, marked_id: str) -> int | None:
        """0, 1 or 2; None for what is not marked."""
        return next((place for place, marked in self.by_place.items() if marked.id == marked_id), None)
