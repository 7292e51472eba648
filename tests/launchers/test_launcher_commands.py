"""A run that is placed elsewhere, as its user has it: started, looked at, stopped, gone on with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlhf_console.cli.launcher_options import chosen_launcher
from rlhf_sdk import launch
from rlhf_sdk.launching import placing
from rlhf_sdk.launching.contract import Choice
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError
from stub_programs import Stub

SLURM = ("--launcher", "slurm", "--launcher-option", "partition=gpu", "--launcher-option", "sbatch.reservation=007")
HOSTILE = "\x1b]0;planted\x07"


def rlhf(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "rlhf_console", *arguments]
    environment = os.environ | {"RLHF_RUNS": str(root)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def as_json(root: Path, *arguments: str) -> Any:
    done = rlhf(root, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_run_is_placed_looked_at_stopped_and_begun_again(stub: Stub, root: Path) -> None:
    started = as_json(root, "run", "echo", "--set", "echo.steps=3", "--name", "far", *SLURM)
    assert (started["launcher"], started["job"]) == ("slurm", "4711")
    assert stub.script("4711")["reservation"] == "007", "what is text is not read as a number"
    stub.queue(f"4711|PENDING||Pri{HOSTILE}ority\n")
    assert [run["state"] for run in as_json(root, "ls")] == ["queued"]
    shown = rlhf(root, "show", "far").stdout
    assert "slurm job 4711: pending (Pri" in shown and not {"\x1b", "\x07"} & {*shown}
    stopped = rlhf(root, "stop", "far")
    assert stopped.returncode == 0 and stub.told("cancelled") == ["4711"] and "stopped" in stopped.stdout
    stub.queue("")
    assert as_json(root, "resume", "far")["job"] == "4712" and stub.script("4712")["partition"] == "gpu"
    again = as_json(root, "relaunch", "far", "--launcher-option", "partition=big")
    assert stub.script(again["job"])["partition"] == "big" and stub.script(again["job"])["reservation"] == "007"
    assert [run["state"] for run in as_json(root, "ls")] == ["failed", "failed"], "no job of theirs is in the queue"
    here = rlhf(root, "resume", started["run"], "--launcher", "local")
    assert here.returncode == 0 and not RunDir(root / started["run"]).job_file.exists()


def test_a_copy_of_a_placed_run_asks_and_cancels_nothing(
    stub: Stub, echo: RunDir, slurm: Choice, tmp_path: Path
) -> None:
    launch.begin(echo, choice=slurm)
    copied = RunDir(tmp_path / "copies" / echo.id)
    shutil.copytree(echo.path, copied.path)
    assert (echo.state(), copied.state()) == (State.QUEUED, State.CREATED)
    assert placing.take_back(copied) == "" and placing.job_state(copied) is None
    placing.look_after([copied])
    assert stub.told("cancelled") == stub.told("asked") == []


def test_mistakes_are_named_before_anything_is_written(stub: Stub, root: Path) -> None:
    done = rlhf(root, "run", "echo", "--launcher", "slrum")
    assert done.returncode == 2 and "Did you mean 'slurm'?" in done.stderr and not root.exists()
    wrong = {
        ("slurm", "partitoin=gpu"): "Did you mean 'partition'",
        ("slurm", "hours=-1"): "hours = -1: must be a number > 0",
        ("slurm", "gpu"): "expected KEY=VALUE",
        ("sky", "spot=true"): "bucket must be set",
        ("sky", "bucket=s3://hf_0123456789abcdefghij"): "holds a key or password",
        ("", "partition=gpu"): "unknown key 'partition'",
    }
    for (launcher, option), said in wrong.items():
        with pytest.raises(UserError, match=said):
            chosen_launcher(launcher, [option])


def test_launchers_are_listed_beside_plugins_and_explain_their_options(tmp_path: Path) -> None:
    listed = {row["name"]: row for row in as_json(tmp_path, "plugins") if row["kind"] == "launcher"}
    assert {"local", "slurm", "sky"} <= set(listed) and all(row["state"] == "ok" for row in listed.values())
    assert {option["key"] for option in as_json(tmp_path, "config", "slurm")} >= {"partition", "hours", "grace_seconds"}
