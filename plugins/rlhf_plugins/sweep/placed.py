"""Cells that a launcher places elsewhere: all at once, as an array that keeps to the slots, where it can do that."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from rlhf_sdk import launch
from rlhf_sdk.launching import asking, placing
from rlhf_sdk.launching.contract import Choice, JobState
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import ENDED, RESUMABLE, State

ASK_SECONDS = 15.0
UNCERTAIN = (State.QUEUED, State.REQUEUED, State.LOST)
"""Whether such a cell is still to begin, or to go on, the scheduler knows, and its files don't."""


class PlacedCells:
    """`slots`: how many cells may be at work at a time; 0: as many as the scheduler finds room for."""

    def __init__(self, choice: Choice, slots: int) -> None:
        self._choice, self._slots = choice, slots
        self._arrays = bool(asking.describe_launcher(choice.launcher)["arrays"])
        self._asked = time.monotonic()
        self._ended: set[str] = set()

    def room(self, waiting: int, at_work: int) -> int:
        """How many cells of those that wait can be given to the launcher now."""
        if self._arrays or not self._slots:
            return waiting
        return min(waiting, max(self._slots - at_work, 0))

    def begin(self, runs: Sequence[RunDir], options: AttemptOptions) -> None:
        """Places those that have no job. Raises `UserError` where the launcher refuses; then none is placed."""
        said = placing.job_states([run for run in runs if run.state() in RESUMABLE])
        held = [run for run in runs if run.state() is State.PAUSED]
        fresh = [run for run in runs if run.state() is State.CREATED]
        broken = [run for run in runs if run.state() in RESUMABLE and not _goes_on(said.get(run.id))]
        if fresh or broken:
            placing.place([*fresh, *broken], self._choice, options, at_most=self._slots)
        for run in held:
            launch.resume(run)

    def is_over(self, run: RunDir, at_work: Iterable[RunDir]) -> bool:
        """Whether nothing more comes of a cell; asks about all that are `at_work` together, now and then."""
        state = run.state()
        if state not in UNCERTAIN:
            return state in ENDED
        if time.monotonic() - self._asked >= ASK_SECONDS:
            self._asked = time.monotonic()
            uncertain = [other for other in at_work if other.state() in UNCERTAIN]
            placing.look_after(uncertain)
            said = placing.job_states(uncertain)
            self._ended = {name for name, state in said.items() if state.state == "ended"}
        return run.id in self._ended


def _goes_on(said: JobState | None) -> bool:
    return said is not None and said.state in placing.MAY_BEGIN
