"""Values that are set while a run lives: refused or applied at a step's beginning, and repeated by whoever resumes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from rlhf_sdk import launch
from rlhf_sdk.checkpoints import list_checkpoints
from rlhf_sdk.commands import AnyCommand, Pause, Resume, SampleNow, SetValue, Stop
from rlhf_sdk.config_errors import ConfigError
from rlhf_sdk.events import CommandAcknowledged, MetricsLogged, ValueSet, encode_line
from rlhf_sdk.live_values import live_keys, value_of, values_to_repeat, with_value
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State

Begin = Callable[..., RunDir]
Folded = Callable[[RunDir], dict[int, dict[str, float]]]

STEPS, SLOW = 24, 0.04


class Optimizer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    lr: Annotated[float, Meta(gt=0, extra={"live": True})] = 1e-3
    epsilon: float = 1e-8


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    optimizer: Optimizer = Optimizer()
    kl_coef: Annotated[float, Meta(ge=0, le=1, extra={"live": True, "source": "somebody"})] = 0.05
    seed: int = 0


def test_a_live_key_of_a_section_is_changed_and_nothing_else() -> None:
    before = Config(seed=3)
    after = with_value(before, "optimizer.lr", 2)
    assert (value_of(after, "optimizer.lr"), value_of(before, "optimizer.lr")) == (2.0, 1e-3)
    assert with_value(after, "optimizer.lr", 1e-3) == before
    assert live_keys(Config) == ["optimizer.lr", "kl_coef"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kl_cof", 0.1, "unknown key 'kl_cof'. Did you mean 'kl_coef'?"),
        ("lr", 0.1, "unknown key 'lr'. Live are: optimizer.lr, kl_coef"),
        ("seed", 1, "seed can't be changed while the run lives; live are: optimizer.lr, kl_coef"),
        ("kl_coef", 1.5, "kl_coef = 1.5: must be a number >= 0 and <= 1"),
        ("kl_coef", "much", 'kl_coef = "much": must be a number >= 0 and <= 1'),
        ("optimizer.lr", None, "optimizer.lr = null: must be a number > 0"),
    ],
)
def test_what_can_not_be_set_is_said(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_value(Config(), key, value)
    assert str(caught.value) == message


def test_what_a_later_attempt_set_by_hand_takes_the_place_of_earlier_words(tmp_path: Path) -> None:
    events = [
        ValueSet(seq=4, attempt=1, step=1, key="a", value=0, previous=9),
        ValueSet(seq=10, attempt=1, step=3, key="a", value=1, previous=0),
        ValueSet(seq=11, attempt=1, step=7, key="a", value=2, previous=1),
        ValueSet(seq=12, attempt=1, step=7, key="b", value=5, previous=4),
        ValueSet(seq=20, attempt=2, step=3, key="a", value=1, previous=0, again=True),
        ValueSet(seq=21, attempt=2, step=6, key="a", value=3, previous=1),
    ]
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(encode_line(event) for event in events))
    assert [(event.step, event.key, event.value) for event in values_to_repeat(file, after=4)] == [
        (3, "a", 1),
        (6, "a", 3),
        (7, "b", 5),
    ]


def wait_for_step(run: RunDir, step: int) -> None:
    deadline = time.monotonic() + 60
    while not any(isinstance(event, MetricsLogged) and event.step >= step for event in run.last_events(50)):
        assert time.monotonic() < deadline, run.log.read_text()
        time.sleep(0.02)


def answer(run: RunDir, command: AnyCommand, *outcomes: str) -> CommandAcknowledged:
    """Gives a command and waits for one of the outcomes."""
    given, deadline = launch.request(run, command), time.monotonic() + 60
    while time.monotonic() < deadline:
        for event in run.events():
            if isinstance(event, CommandAcknowledged) and event.command_id == given and event.outcome in outcomes:
                return event
        time.sleep(0.02)
    raise AssertionError(run.log.read_text())


def ended(run: RunDir) -> State:
    verdict = launch.wait(run)
    assert verdict is not None
    return verdict.state


def values_set(run: RunDir, *, again: bool) -> list[tuple[int, str, Any, Any]]:
    found = [event for event in run.events() if isinstance(event, ValueSet) and event.again is again]
    return [(event.step, event.key, event.value, event.previous) for event in found]


def scores(begin: Begin, folded: Folded, **config: Any) -> dict[int, float]:
    run = begin(steps=STEPS, seed=5, **config)
    assert ended(run) is State.FINISHED
    return {step: values["echo/score"] for step, values in folded(run).items()}


def test_a_value_holds_from_the_next_step_on_through_stops_and_kills(begin: Begin, folded: Folded) -> None:
    run = begin(steps=STEPS, seed=5, delay_seconds=SLOW, checkpoint_every=6)
    wait_for_step(run, 3)
    done = answer(run, SetValue(key="weight", value=2), "done")
    assert (done.details["previous"], done.details["value"]) == (1.0, 2)
    ((at, *_),) = values_set(run, again=False)
    answer(run, Stop(), "done")
    ended(run)
    launch.resume(run)
    (checkpoint,) = list_checkpoints(run.checkpoints)
    wait_for_step(run, 8)
    answer(run, SetValue(key="weight", value=3.0), "done")
    second = values_set(run, again=False)[1]
    assert second[1:] == ("weight", 3.0, 2.0)
    wait_for_step(run, second[0] + 1)
    launch.send_signal(run, signal.SIGKILL)
    assert ended(run) is State.KILLED
    from_step = int(list_checkpoints(run.checkpoints)[-1].name.removeprefix("step-"))
    launch.resume(run)
    assert ended(run) is State.FINISHED
    assert values_set(run, again=True) == ([second] if from_step <= second[0] else [])
    plain = scores(begin, folded)
    weights = {step: 1.0 if step <= at else 2.0 if step <= second[0] else 3.0 for step in plain}
    found = {step: values["echo/score"] for step, values in folded(run).items()}
    assert found == {step: weights[step] * score for step, score in plain.items()}
    assert checkpoint.name > "step-00000002"


def test_a_value_that_can_not_be_set_changes_nothing(begin: Begin) -> None:
    run = begin(steps=STEPS, delay_seconds=SLOW)
    refused = answer(run, SetValue(key="weight", value=11), "refused")
    assert refused.message == "weight = 11: must be a number >= 0 and <= 10"
    assert "Did you mean 'weight'" in answer(run, SetValue(key="wight", value=1), "refused").message
    assert values_set(run, again=False) == []


def test_samples_on_request_at_work_and_while_held(begin: Begin) -> None:
    run = begin(steps=STEPS, delay_seconds=0.5, text="good day")
    done = answer(run, SampleNow(prompts=["one", "two"]), "done")
    first, last = done.details["sample_seq"]
    answer(run, Pause(), "done")
    held = answer(run, SampleNow(), "done")
    asked = {sample.seq: sample for sample in run.samples() if sample.tag == "asked"}
    assert [(asked[seq].index, asked[seq].prompt) for seq in range(first, last + 1)] == [(0, "one"), (1, "two")]
    assert [asked[seq].response for seq in held.details["sample_seq"]] == ["good day"] * 2
    answer(run, Resume(), "done")
    answer(run, Stop(), "done")
    assert ended(run) is State.STOPPED


@pytest.mark.usefixtures("troubled")
def test_a_trainer_that_can_not_sample_or_fails_to_refuses_and_goes_on(begin: Begin) -> None:
    run = begin("troubled", trouble="can_be_left")
    answer(run, Pause(), "done")
    assert answer(run, SampleNow(), "refused").message == "ZeroDivisionError: division by zero"
    assert answer(run, SampleNow(prompts=["hard"]), "refused").message == "too hard"
    assert "live are: none" in answer(run, SetValue(key="steps", value=4), "refused").message
    assert run.state() is State.PAUSED
    pipeline = begin("pipeline", stages={"echo": {"plugin": "echo", "config": {"delay_seconds": 0.2}}})
    assert answer(pipeline, SampleNow(), "refused").message == "plugin 'pipeline' can't sample on request"
