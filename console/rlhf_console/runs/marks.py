"""Runs that somebody has marked, to see them together; each keeps its place, and with it its colour."""

from __future__ import annotations

from contextlib import suppress

from rlhf_console.runs.state_file import StateFile
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

MOST = 3


class Marks:
    """At most three, so that they can still be told apart; a run gets the place that it had last, if that is free."""

    def __init__(self) -> None:
        self._places: list[RunDir | None] = [None] * MOST
        self._last = StateFile("marks.json")

    @property
    def runs(self) -> list[RunDir]:
        return [run for run in self._places if run is not None]

    def turn(self, run: RunDir) -> None:
        """Marks a run, or takes its mark away; of a fourth nothing comes."""
        if run in self._places:
            self.forget(run.id)
        elif None in self._places:
            place = self._free_place(run)
            self._places[place] = run
            with suppress(UserError):
                self._last.set(run.id, place)

    def _free_place(self, run: RunDir) -> int:
        """A damaged memory is none."""
        last: object = None
        with suppress(UserError):
            last = self._last.read().get(run.id)
        free = [place for place in range(MOST) if self._places[place] is None]
        return next((place for place in free if place == last), free[0])

    def forget(self, run_id: str) -> None:
        self._places = [None if run is not None and run.id == run_id else run for run in self._places]

    def place_of(self, run_id: str) -> int | None:
        """0, 1 or 2; None for a run that is not marked."""
        return next((place for place, run in enumerate(self._places) if run is not None and run.id == run_id), None)
