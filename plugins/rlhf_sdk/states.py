"""The states of a run and how one follows another."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Derived by readers, never written: `QUEUED` (placed by a launcher, not begun), `STALLED` (alive, heartbeat old)
    and `LOST` (no process, no verdict)."""

    CREATED = "created"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    KILLED = "killed"
    OOM = "oom"
    RELEASED = "released"
    REQUEUED = "requeued"
    STALLED = "stalled"
    LOST = "lost"


_INTERRUPTED = frozenset({State.FAILED, State.STOPPED, State.KILLED, State.OOM, State.RELEASED, State.REQUEUED})

ENDED = _INTERRUPTED | {State.FINISHED}
"""No process any more, and a verdict."""

RESUMABLE = _INTERRUPTED | {State.LOST}
"""A new attempt may go on from the newest good checkpoint."""

LIVE = frozenset({State.STARTING, State.RUNNING, State.PAUSED})
"""What a worker that is alive says about itself."""

TRANSITIONS: dict[State, frozenset[State]] = {
    State.CREATED: frozenset({State.STARTING, State.QUEUED}),
    State.QUEUED: frozenset({State.STARTING, State.STOPPED, State.FAILED}),
    State.STARTING: _INTERRUPTED | {State.RUNNING, State.PAUSED, State.LOST},
    State.RUNNING: ENDED | {State.PAUSED, State.LOST, State.STALLED},
    State.PAUSED: _INTERRUPTED | {State.STARTING, State.RUNNING, State.LOST, State.STALLED},
    State.STALLED: ENDED | {State.RUNNING, State.PAUSED, State.LOST},
    State.FINISHED: frozenset(),
    **{state: frozenset({State.STARTING, State.QUEUED}) for state in RESUMABLE},
}


def known_state(text: str) -> State | None:
    """The state called `text`; None for one that only a newer version knows."""
    return next((state for state in State if state == text), None)


def can_become(state: State, following: State) -> bool:
    """Whether `following` may come directly after `state`."""
    return following in TRANSITIONS[state]
