"""Runs that somebody has marked, to see them together; each keeps its place, and with it its colour."""

from __future__ import annotations

from rlhf_sdk.run_dir import RunDir

MOST = 3


class Marks:
    """At most three, so that they can still be told apart."""

    def __init__(self) -> None:
        self._places: list[RunDir | None] = [None] * MOST

    @property
    def runs(self) -> list[RunDir]:
        return [run for run in self._places if run is not None]

    def turn(self, run: RunDir) -> None:
        """Marks a run, or takes its mark away; of a fourth nothing comes."""
        if run in self._places:
            self.forget(run.id)
        elif None in self._places:
            self._places[self._places.index(None)] = run

    def forget(self, run_id: str) -> None:
        self._places = [None if run is not None and run.id == run_id else run for run in self._places]

    def place_of(self, run_id: str) -> int | None:
        """0, 1 or 2; None for a run that is not marked."""
        return next((place for place, run in enumerate(self._places) if run is not None and run.id == run_id), None)
