"""In what state a run is, from what its directory and its processes show at one moment: a pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlhf_sdk.events import Event, Finished, StateChanged
from rlhf_sdk.run_record import ExitRecord, RunStatus
from rlhf_sdk.states import ENDED, LIVE, State, known_state

STALLED_AFTER_SECONDS = 60.0


@dataclass(frozen=True)
class Evidence:
    """`status.json`, `exit.json` and the newest events, as they are; times in Unix seconds.

    `process` says whether worker or shim is alive; None for a run of another host, whose processes can't be seen from
    here. `heartbeat` is None where the worker never touched it. `queued`: a launcher has placed an attempt that has not
    begun.
    """

    status: RunStatus | None
    verdict: ExitRecord | None
    events: Sequence[Event]
    heartbeat: float | None
    process: bool | None
    now: float
    queued: bool = False

    @property
    def silent_seconds(self) -> float | None:
        """Since the last heartbeat; a heartbeat from the future is of now."""
        return None if self.heartbeat is None else max(0.0, self.now - self.heartbeat)

    @property
    def alive(self) -> bool:
        """Whether the run has a process; on another host, as far as its heartbeat tells."""
        if self.process is not None:
            return self.process
        return self.silent_seconds is not None and self.silent_seconds < STALLED_AFTER_SECONDS


def state_of(seen: Evidence) -> State:
    """In this order: an attempt that waits its turn; the verdict on the newest one; none yet; without a process, the
    worker's last words, else lost; with one, what the worker says, unless it has been silent for too long."""
    status = seen.status
    if seen.queued:
        return State.QUEUED
    if seen.verdict is not None and seen.verdict.attempt >= (status.attempt if status else 1):
        return seen.verdict.state
    if status is None:
        return State.CREATED
    if status.state in ENDED:
        return status.state
    if not seen.alive:
        said = final_words(seen.events, status.attempt)
        return said[0] if said else State.LOST
    words = _states_said(seen.events, status.attempt)
    live = words[-1] if words and words[-1] in LIVE else status.state
    silent = seen.silent_seconds is not None and seen.silent_seconds > STALLED_AFTER_SECONDS
    return State.STALLED if silent and live is not State.STARTING else live


def final_words(events: Sequence[Event], attempt: int) -> tuple[State, Finished] | None:
    """How the worker said that `attempt` ended; None if it was cut off before it could."""
    own = [event for event in events if event.attempt == attempt]
    states = _states_said(events, attempt)
    if own and states and states[-1] in ENDED and isinstance(own[-1], Finished):
        return states[-1], own[-1]
    return None


def _states_said(events: Sequence[Event], attempt: int) -> list[State]:
    said = [event.state for event in events if isinstance(event, StateChanged) and event.attempt == attempt]
    return [state for text in said if (state := known_state(text)) is not None]
