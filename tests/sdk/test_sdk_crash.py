"""crash.json of attempts that really failed, and the report of running out of memory."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from typing import Any

import pytest

from rlhf_sdk import launch
from rlhf_sdk.events import Alert, CheckpointSaved
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.ranked import starting
from rlhf_sdk.run_dir import RunDir

Begin = Callable[..., RunDir]


def crash_of(run: RunDir) -> dict[str, Any]:
    launch.wait(run)
    crash: dict[str, Any] = json.loads((run.path / "crash.json").read_text())
    return crash


@pytest.mark.usefixtures("troubled")
def test_a_failed_run_says_what_where_and_how_to_go_on(begin: Begin) -> None:
    run = begin("troubled", trouble="raises")
    crash = crash_of(run)
    assert (crash["state"], crash["exit_code"], crash["attempt"], crash["phase"]) == ("failed", 3, 1, "update")
    assert crash["exception"]["type"] == "builtins.ValueError"
    assert crash["exception"]["message"] == "the shapes\ndon't match"
    assert "in raises" in "".join(crash["exception"]["traceback"])
    assert crash["resume"] == f"rlhf resume {run.id}" and crash["checkpoint"] == "step-00000001"
    assert [event["kind"] for event in crash["events"]][-3:] == ["alert", "state", "finished"]
    assert crash["versions"] == run.record().versions and crash["versions"]
    assert stat.S_IMODE((run.path / "crash.json").stat().st_mode) == 0o600


@pytest.mark.usefixtures("troubled")
def test_running_out_of_memory_leaves_a_report_that_the_alert_names(begin: Begin) -> None:
    run = begin("troubled", trouble="out_of_memory")
    assert crash_of(run)["state"] == "oom"
    report = json.loads((run.path / "memory" / "oom-1-1.json").read_text())
    assert report["phase"] == "rollout" and report["error"] == "RuntimeError: the device is full"
    assert any("in out_of_memory" in frame for frame in report["stack"])
    assert report["memory"] == {"rss": 1} and report["allocator"] == {"segments": []}
    assert report["machine"]["memory_available"] > 0
    alerts = [event for event in run.events() if isinstance(event, Alert)]
    assert "memory/oom-1-1.json" in alerts[-1].advice


@pytest.mark.usefixtures("troubled")
@pytest.mark.parametrize(("trouble", "saved"), [("out_of_memory", False), ("out_of_memory_between_updates", True)])
def test_a_trainer_that_can_be_left_is_saved_where_memory_ran_out(begin: Begin, trouble: str, saved: bool) -> None:
    run = begin("troubled", trouble=trouble)
    crash = crash_of(run)
    assert (crash["state"], crash["phase"]) == ("oom", "rollout")
    reasons = [event.reason for event in run.events() if isinstance(event, CheckpointSaved)]
    assert [reason.startswith("out of memory in rollout") for reason in reasons] == [False] + [True] * saved


@pytest.mark.usefixtures("troubled")
@pytest.mark.parametrize("trouble", ["killed", "exits_at_once"])
def test_the_shim_writes_it_for_a_worker_that_could_not(begin: Begin, trouble: str) -> None:
    run = begin("troubled", trouble=trouble)
    crash = crash_of(run)
    verdict = run.exit()
    assert verdict is not None
    assert (crash["state"], crash["reason"], crash["exception"]) == (verdict.state, verdict.reason, None)
    assert crash["events"] and crash["memory"][-1]["attempt"] == 1


def test_a_run_that_ends_well_has_none(begin: Begin) -> None:
    run = begin("echo", steps=1)
    launch.wait(run)
    assert not (run.path / "crash.json").exists()


@pytest.mark.usefixtures("troubled")
def test_what_a_plugin_says_of_a_key_is_not_repeated(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "the shapes")
    crash = crash_of(begin("troubled", trouble="raises"))
    assert crash["exception"]["message"] == "[HF_TOKEN]\ndon't match"
    assert "the shapes" not in json.dumps(crash)


@pytest.mark.parametrize("variable", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_the_allocator_may_grow_segments_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in starting.ALLOCATOR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert starting.worker_environment(AttemptOptions())["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    monkeypatch.setenv(variable, "max_split_size_mb:64")
    environment = starting.worker_environment(AttemptOptions())
    assert {name: environment.get(name) for name in starting.ALLOCATOR_VARIABLES if name in environment} == {
        variable: "max_split_size_mb:64"
    }
