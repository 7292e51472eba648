"""A checkpoint inside a step: where the trainer allows it, and what is done again from it."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest

from rlhf_sdk import launch
from rlhf_sdk.checkpoints import WorkerState, list_checkpoints
from rlhf_sdk.commands import AnyCommand, Checkpoint, Pause, Resume, Stop
from rlhf_sdk.events import CommandAcknowledged, Event, MetricsLogged, Note, Sample, Started
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord
from rlhf_sdk.states import State

Begin = Callable[..., RunDir]
Folded = Callable[[RunDir], dict[int, dict[str, float]]]

pytestmark = pytest.mark.usefixtures("troubled")


def ended(run: RunDir) -> ExitRecord:
    verdict = launch.wait(run)
    assert verdict is not None
    return verdict


def wait_for(run: RunDir, found: Callable[[Event], bool]) -> Event:
    """The first event that `found` accepts, within a minute."""
    deadline, events = time.monotonic() + 60, run.events()
    while time.monotonic() < deadline:
        for event in events:
            if found(event):
                return event
        time.sleep(0.02)
    raise AssertionError(run.log.read_text())


def ask(run: RunDir, command: AnyCommand, outcome: str) -> CommandAcknowledged:
    """Gives a command and waits for the outcome."""
    given = launch.request(run, command)
    event = wait_for(
        run, lambda e: isinstance(e, CommandAcknowledged) and e.command_id == given and e.outcome == outcome
    )
    assert isinstance(event, CommandAcknowledged)
    return event


def is_inside(event: Event, *, attempt: int = 1) -> bool:
    return isinstance(event, Note) and event.attempt == attempt


def go_on(run: RunDir) -> None:
    run.data.mkdir()
    (run.data / "go_on").touch()


def samples(run: RunDir) -> list[tuple[int, str, str]]:
    """Samples without what a restart superseded."""
    starts = [event for event in run.events() if isinstance(event, Started)]

    def superseded(sample: Sample) -> bool:
        return any(start.attempt > sample.attempt and sample.seq > start.resumed_sample_seq for start in starts)

    return [(sample.step, sample.tag, sample.response) for sample in run.samples() if not superseded(sample)]


def test_a_step_that_was_left_is_done_again_to_the_same_bits(begin: Begin, folded: Folded) -> None:
    straight = begin("troubled", trouble="can_be_left", seed=3)
    go_on(straight)
    ended(straight)
    run = begin("troubled", trouble="can_be_left", seed=3, checkpoint_every=0)
    note = wait_for(run, is_inside)
    assert ask(run, Checkpoint(), "done").message == "step-00000001"
    (checkpoint,) = list_checkpoints(run.checkpoints)
    state = msgspec.json.decode((checkpoint / "worker.json").read_bytes(), type=WorkerState)
    (first,) = [event for event in run.events() if isinstance(event, MetricsLogged)]
    assert first.seq <= state.seq < note.seq and (state.step, state.sample_seq) == (1, 1)
    ask(run, Stop(), "done")
    assert (ended(run).state, ended(run).exit_code) == (State.STOPPED, 143)
    launch.resume(run)
    wait_for(run, lambda event: is_inside(event, attempt=2))
    go_on(run)
    assert ended(run).exit_code == 0
    for figures in (folded(run), folded(straight)):
        assert sorted(figures) == [1, 2, 3]
    assert {s: f["drawn"] for s, f in folded(run).items()} == {s: f["drawn"] for s, f in folded(straight).items()}
    assert samples(run) == samples(straight)


def test_a_trainer_that_can_not_be_left_is_held_at_once_but_left_only_after_the_step(begin: Begin) -> None:
    run = begin("troubled", trouble="can_not_be_left", checkpoint_every=0)
    wait_for(run, is_inside)
    ask(run, Pause(), "done")
    assert run.state() is State.PAUSED
    ask(run, Checkpoint(), "accepted")
    ask(run, Resume(), "done")
    stop = ask(run, Stop(), "accepted")
    time.sleep(0.3)
    assert list_checkpoints(run.checkpoints) == [] and run.exit() is None
    go_on(run)
    assert ended(run).state is State.STOPPED
    assert [path.name for path in list_checkpoints(run.checkpoints)] == ["step-00000002"]
    answers = [
        e.outcome for e in run.events() if isinstance(e, CommandAcknowledged) and e.command_id == stop.command_id
    ]
    assert answers == ["accepted", "done"]


def test_a_run_can_be_held_and_stopped_while_it_sets_itself_up(begin: Begin) -> None:
    run = begin("troubled", trouble="slow_setup")
    wait_for(run, is_inside)
    assert run.state() is State.STARTING
    ask(run, Pause(), "done")
    assert run.state() is State.PAUSED
    ask(run, Checkpoint(), "accepted")
    ask(run, Resume(), "done")
    assert run.state() is State.STARTING
    launch.request(run, Stop())
    assert (ended(run).state, list_checkpoints(run.checkpoints)) == (State.STOPPED, [])
    answers = [event for event in run.events() if isinstance(event, CommandAcknowledged)]
    last = [(answer.command, answer.outcome) for answer in answers][-2:]
    assert last == [("checkpoint", "ignored"), ("stop", "done")]
    go_on(run)
    launch.resume(run)
    assert ended(run).state is State.FINISHED
