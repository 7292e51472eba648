"""What SkyPilot is given, and what is made of its answers, with a command that writes down; its own loader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlhf_sdk import launch
from rlhf_sdk.launching import placing
from rlhf_sdk.launching.asking import chosen
from rlhf_sdk.launching.contract import Choice
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError
from stub_programs import Stub


@pytest.fixture
def sky(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Choice:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdefghij")
    options = {"bucket": "s3://my-runs", "accelerators": "H100:8", "secrets": ["HF_TOKEN"], "cpus": "16+"}
    return chosen("sky", options)


def task_of(run: RunDir, attempt: int = 1) -> Path:
    return run.root / ".jobs" / run.id / f"{run.id}-{attempt}.yaml"


def test_a_task_brings_the_run_and_what_it_refers_to(stub: Stub, root: Path, sky: Choice) -> None:
    first = launch.create_run(root, plugin="echo", config={"steps": 1})
    launch.start(first)
    launch.wait(first)
    second = launch.create_run(root, plugin="echo", config={"steps": 2, "model": f"run:{first.id}"})
    job = launch.begin(second, AttemptOptions(processes=8, max_seconds=60), sky)
    task = json.loads(task_of(second).read_text())
    assert job == task["name"] == f"{second.id}-1" and task["num_nodes"] == 1
    recovery = {"max_restarts_on_errors": 0, "recover_on_exit_codes": [75]}
    assert task["resources"] == {
        "accelerators": "H100:8", "cpus": "16+", "disk_size": 256, "use_spot": True, "job_recovery": recovery
    }  # fmt: skip
    checkpoint = f"{first.id}/checkpoints/step-00000001"
    assert task["file_mounts"] == {
        f"~/rlhf-runs/{second.id}": str(second.path),
        f"~/rlhf-runs/{checkpoint}": str(root / checkpoint),
        f"~/rlhf-runs/{first.id}/run.json": str(first.record_file),
        "~/rlhf-bucket": {"source": "s3://my-runs", "mode": "MOUNT"},
    }
    assert f'-m rlhf_sdk.launching.job "$HOME"/rlhf-runs/{second.id} --options' in task["run"]
    assert task["run"].endswith(f'--mirror "$HOME"/rlhf-bucket/{second.id}') and '"processes":8' in task["run"]
    (told,) = stub.told("sky")
    assert told == f"jobs launch --yes --detach-run --name {job} --secret HF_TOKEN {task_of(second)}"


def test_no_file_keeps_what_is_secret(stub: Stub, echo: RunDir, sky: Choice) -> None:
    launch.begin(echo, choice=sky)
    kept = [path for path in echo.root.rglob("*") if path.is_file()]
    assert len(kept) >= 3 and not [path for path in kept if b"hf_0123456789" in path.read_bytes()]


def test_the_queue_tells_what_became_of_it_and_a_stop_cancels(stub: Stub, echo: RunDir, sky: Choice) -> None:
    launch.begin(echo, choice=sky)
    stub.queue(json.dumps([{"job_id": 3, "job_name": f"{echo.id}-1", "status": "RECOVERING"}]))
    said = placing.job_state(echo)
    assert said is not None and (said.state, said.detail) == ("running", "recovering")
    placing.look_after([echo])
    assert echo.state() is State.QUEUED, "what it does is not seen from here"
    assert placing.take_back(echo) and stub.told("sky")[-1] == f"jobs cancel --yes --name={echo.id}-1"
    assert echo.state() is State.STOPPED
    launch.resume(echo)
    assert task_of(echo).exists()
    stub.queue(json.dumps([{"job_id": 3, "job_name": f"{echo.id}-1", "status": "FAILED_SETUP"}]))
    placing.look_after([echo])
    verdict = launch.verdict(echo)
    assert verdict is not None and verdict.reason.endswith("failed setup")


def test_machines_that_share_no_folder_are_refused(stub: Stub, echo: RunDir, sky: Choice) -> None:
    with pytest.raises(UserError, match="share no run directory"):
        launch.begin(echo, AttemptOptions(nodes=2), sky)
    assert stub.told("sky") == [] and echo.state() is State.CREATED


def test_without_the_command_it_is_said_what_is_missing(stub: Stub, echo: RunDir, sky: Choice) -> None:
    (stub.folder / "bin" / "sky").unlink()
    with pytest.raises(UserError, match=r"no 'sky' on the PATH.*clusters\.md"):
        launch.begin(echo, choice=sky)
