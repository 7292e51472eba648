"""Pipelines of echoes: links, stop and resume, reuse, and what a failed stage means."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf_sdk import launch
from rlhf_sdk.commands import Pause, Stop
from rlhf_sdk.events import ChildRun, Finished, MetricsLogged, Progress
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.states import State

Begin = Callable[..., RunDir]
Folded = Callable[[RunDir], dict[int, dict[str, float]]]

FIRST, SECOND = 5, 20


def stages(*, delay: float = 0.0) -> dict[str, Any]:
    first = {"steps": FIRST, "seed": 1}
    second = {"steps": SECOND, "seed": 2, "model": "stage:first", "delay_seconds": delay}
    return {"first": {"plugin": "echo", "config": first}, "second": {"plugin": "echo", "config": second}}


def ended(run: RunDir) -> ExitRecord:
    verdict = launch.wait(run)
    assert verdict is not None
    return verdict


def child(run: RunDir, stage: str) -> RunDir:
    return RunDir(run.root / f"{run.id}.{stage}")


def wait_for_step(run: RunDir, step: int, *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if any(isinstance(event, MetricsLogged) and event.step >= step for event in run.events()):
            return
        time.sleep(0.02)
    raise AssertionError(f"step {step} not reached")


def final_sum(run: RunDir) -> float:
    return max(event.values["echo/sum"] for event in run.events() if isinstance(event, MetricsLogged))


@pytest.fixture
def expected() -> float:
    """The second stage's sum goes on from the first's: all the numbers that `EchoTrainer` draws, added up."""
    drawn = [(1, step) for step in range(FIRST)] + [(2, step) for step in range(SECOND)]
    total = 0.0
    for seed, step in drawn:
        total += random.Random(f"{seed}/{step}").random()
    return total


def test_stages_run_one_after_another_under_one_id(begin: Begin, expected: float) -> None:
    run = begin("pipeline", stages=stages())
    assert ended(run).exit_code == 0
    assert [found.id for found in list_runs(run.root)] == [run.id, f"{run.id}.first", f"{run.id}.second"]
    second = child(run, "second").record()
    assert (second.pipeline, second.stage, second.plugin) == (run.id, "second", "echo")
    assert second.config["model"] == f"run:{run.id}.first@step-{FIRST:08d}"
    assert second.parents == {"model": f"{run.id}.first"}
    assert final_sum(child(run, "second")) == expected
    events = list(run.events())
    children = [(event.stage, event.state) for event in events if isinstance(event, ChildRun)]
    assert children[-1] == ("second", State.FINISHED) and ("first", State.FINISHED) in children
    assert {event.what for event in events if isinstance(event, Progress)} <= {"first", "second"}


def test_stop_reaches_the_stage_and_resume_goes_on_in_it(begin: Begin, expected: float) -> None:
    run = begin("pipeline", stages=stages(delay=0.05))
    second = child(run, "second")
    wait_for_step(second, 3)
    launch.request(run, Stop())
    assert ended(run).state is State.STOPPED and ended(second).state is State.STOPPED
    launch.resume(run)
    assert ended(run).exit_code == 0
    assert ended(second).attempt == 2 and final_sum(second) == expected
    assert ended(child(run, "first")).attempt == 1


def test_a_pipeline_that_was_killed_finds_its_stages_again(begin: Begin, expected: float) -> None:
    run = begin("pipeline", stages=stages(delay=0.05))
    second = child(run, "second")
    wait_for_step(second, 3)
    launch.send_signal(run, signal.SIGKILL)
    assert ended(run).state is State.KILLED
    launch.resume(run)
    assert ended(run).exit_code == 0
    assert ended(second).attempt == 1 and final_sum(second) == expected


def test_pause_holds_the_stage_too(begin: Begin, expected: float) -> None:
    run = begin("pipeline", stages=stages(delay=0.05))
    second = child(run, "second")
    wait_for_step(second, 3)
    launch.request(run, Pause())
    while second.state() is not State.PAUSED:
        time.sleep(0.05)
    launch.resume(run)
    assert ended(run).exit_code == 0 and final_sum(second) == expected


def test_a_finished_run_can_stand_in_for_a_stage(begin: Begin, expected: float) -> None:
    earlier = begin("echo", steps=FIRST, seed=1)
    ended(earlier)
    run = begin("pipeline", stages=stages(), reuse={"first": earlier.id})
    assert ended(run).exit_code == 0
    assert not child(run, "first").path.exists()
    assert child(run, "second").record().parents == {"model": earlier.id}
    assert final_sum(child(run, "second")) == expected


@pytest.mark.usefixtures("troubled")
@pytest.mark.parametrize(("trouble", "code"), [("diverges", 4), ("killed", 137), ("out_of_memory", 5)])
def test_a_failed_stage_fails_the_pipeline_with_its_reason(begin: Begin, trouble: str, code: int) -> None:
    run = begin("pipeline", stages={"only": {"plugin": "troubled", "config": {"trouble": trouble}}})
    verdict, inner = ended(run), ended(child(run, "only"))
    assert (verdict.exit_code, inner.exit_code) == (code, code)
    assert inner.reason in verdict.reason and child(run, "only").id in verdict.reason
    assert verdict.state is State.FAILED and verdict.signal is None
    assert "Traceback" not in run.log.read_text()


def test_a_stage_that_somebody_stopped_stops_the_pipeline(begin: Begin) -> None:
    run = begin("pipeline", stages=stages(delay=0.05))
    second = child(run, "second")
    wait_for_step(second, 2)
    launch.request(second, Stop())
    verdict = ended(run)
    assert verdict.state is State.STOPPED and "stage second" in verdict.reason


MISTAKES = [
    ({"stages": {}}, "at least one"),
    ({"stages": {"a": {"plugin": "ekho"}}}, "unknown plugin 'ekho'.* Did you mean 'echo'"),
    ({"stages": {"a": {"plugin": "echo", "config": {"stepss": 1}}}}, "stage a: unknown key 'stepss'.*'steps'"),
    ({"stages": {"a": {"plugin": "echo", "config": {"model": "stage:b"}}}}, "'stage:b' names no earlier stage"),
    ({"stages": {"a": {"plugin": "echo"}}, "reuse": {"b": "x"}}, "there is no stage 'b'"),
    ({"stages": {"a": {"plugin": "echo"}}, "reuse": {"a": "x"}}, "no run 'x'"),
]


@pytest.mark.parametrize(("config", "message"), MISTAKES)
def test_mistakes_are_found_before_any_stage_runs(begin: Begin, config: dict[str, Any], message: str) -> None:
    run = begin("pipeline", **config)
    verdict = ended(run)
    assert verdict.exit_code == 2 and re.search(message, verdict.reason)
    assert [found.id for found in list_runs(run.root)] == [run.id]


def test_an_unfinished_run_can_not_stand_in(begin: Begin, root: Path) -> None:
    unfinished = launch.create_run(root, plugin="echo", config={})
    run = begin("pipeline", stages=stages(), reuse={"first": unfinished.id})
    assert ended(run).reason == f"reuse: run {unfinished.id} for stage first is created, not finished"
    last = run.last_events(1)[0]
    assert isinstance(last, Finished) and last.exit_code == 2


def test_provenance_goes_with_the_stage(root: Path) -> None:
    provenance = {"stages.first.config.steps": "--set", "stages.second.config.seed": "profile x"}
    run = launch.create_run(root, plugin="pipeline", config={"stages": stages()}, provenance=provenance)
    launch.start(run)
    ended(run)
    assert child(run, "first").record().provenance == {"steps": "--set"}
    assert child(run, "second").record().provenance == {"seed": "profile x"}
    assert json.loads(run.record_file.read_text())["provenance"] == provenance
