"""The state of a run, derived from recorded histories with a clock of the test's own."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise

import pytest
from recorded_histories import moments

from rlhf_sdk.evidence import STALLED_AFTER_SECONDS, Evidence, state_of
from rlhf_sdk.states import ENDED, LIVE, RESUMABLE, State, can_become

C, S, R, P = State.CREATED, State.STARTING, State.RUNNING, State.PAUSED
LIVED = {
    "straight": [C, S, R, State.FINISHED],
    "paused": [C, S, R, P, R, State.STOPPED, S, R, State.FINISHED],
    "killed": [C, S, R, State.KILLED, S, R, State.FINISHED],
    "lost": [C, S, R, State.LOST, S, R, State.FINISHED],
    "without_shim": [C, S, R, State.FINISHED],
    "silent": [C, S, R, State.STALLED, R, State.FINISHED],
    "requeued": [C, S, R, State.REQUEUED, S, R, State.RELEASED],
    "refused": [C, S, State.FAILED],
    "copied": [State.LOST, S, R, State.FINISHED],
}
"""What each run was made to live through, in the recorder's own words."""


def states(name: str) -> list[State]:
    return [state for state, _ in groupby(state_of(seen) for seen in moments(name))]


@pytest.mark.parametrize("name", LIVED)
def test_what_was_lived_through_is_what_was_seen(name: str) -> None:
    assert states(name) == LIVED[name]
    assert all(can_become(before, after) for before, after in pairwise(states(name)))


def seen_live(name: str) -> list[Evidence]:
    return [seen for seen in moments(name) if state_of(seen) in LIVE and seen.heartbeat is not None]


@pytest.mark.parametrize("name", LIVED)
def test_silence_makes_stalled_of_whatever_is_past_its_start(name: str) -> None:
    for seen in seen_live(name):
        assert seen.heartbeat is not None and seen.process
        before = state_of(seen)
        just = replace(seen, now=seen.heartbeat + STALLED_AFTER_SECONDS)
        late = replace(seen, now=seen.heartbeat + STALLED_AFTER_SECONDS + 1)
        assert state_of(just) is before
        assert state_of(late) is (State.STARTING if before is State.STARTING else State.STALLED)


@pytest.mark.parametrize("name", LIVED)
def test_a_clock_that_was_set_back_changes_nothing(name: str) -> None:
    for seen in moments(name):
        if state_of(seen) is not State.STALLED:
            assert state_of(replace(seen, now=seen.now - 86400)) is state_of(seen)


@pytest.mark.parametrize("name", LIVED)
def test_without_a_process_a_run_is_lost_unless_something_says_how_it_ended(name: str) -> None:
    for seen in moments(name):
        state = state_of(replace(seen, process=False))
        assert state in ENDED | {State.CREATED, State.LOST}
        if seen.verdict is not None and state_of(seen) in ENDED:
            assert state is state_of(seen)
    last = list(moments(name))[-1]
    without_verdict = replace(last, verdict=None, process=False)
    if last.status is not None and last.status.state in LIVE:
        assert state_of(without_verdict) is state_of(last)


@pytest.mark.parametrize("name", LIVED)
def test_on_another_host_the_heartbeat_stands_for_the_process(name: str) -> None:
    for seen in seen_live(name):
        assert seen.heartbeat is not None
        elsewhere = replace(seen, process=None, now=seen.heartbeat + STALLED_AFTER_SECONDS - 1)
        assert state_of(elsewhere) is state_of(seen)
        silent = replace(elsewhere, now=seen.heartbeat + STALLED_AFTER_SECONDS)
        assert state_of(silent) in {State.LOST, *ENDED}


def test_every_state_was_lived_through_or_is_tested_by_itself() -> None:
    assert {state for lived in LIVED.values() for state in lived} == set(State) - {State.OOM, State.QUEUED}
    assert set(RESUMABLE) <= set(State) - LIVE
