"""A run that is placed elsewhere, as its user has it: started, looked at, stopped, gone on with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
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


def test_a_copy_of_a_placed_run_asks_and_cancels_nothing(stub: Stub, root: Path, tmp_path: Path) -> None:
    started = as_json(root, "run", "echo", "--name", "far", *SLURM)
    copied = tmp_path / "copies" / started["run"]
    shutil.copytree(root / started["run"], copied)
    assert RunDir(root / started["run"]).state() is State.QUEUED and RunDir(copied).state() is State.CREATED
    assert rlhf(copied.parent, "stop", "far").returncode == 2
    rlhf(copied.parent, "show", "far")
    assert stub.told("cancelled") == stub.told("asked") == []


def test_mistakes_are_named_before_anything_is_written(stub: Stub, root: Path) -> None:
    wrong = {
        ("--launcher", "slrum"): "Did you mean 'slurm'?",
        ("--launcher", "slurm", "--launcher-option", "partitoin=gpu"): "Did you mean 'partition'?",
        ("--launcher", "slurm", "--launcher-option", "hours=-1"): "hours = -1: must be a number > 0",
        ("--launcher", "slurm", "--launcher-option", "gpu"): "expected KEY=VALUE",
        ("--launcher", "sky"): "bucket must be set",
        ("--launcher", "sky", "--launcher-option", "bucket=s3://hf_0123456789abcdefghij"): "holds a key or password",
        ("--launcher-option", "partition=gpu"): "unknown key 'partition'",
    }
    for options, said in wrong.items():
        done = rlhf(root, "run", "echo", *options)
        assert done.returncode == 2 and said in done.stderr, (options, done.stderr)
    assert not root.exists()


def test_launchers_are_listed_beside_plugins_and_explain_their_options(tmp_path: Path) -> None:
    listed = {row["name"]: row for row in as_json(tmp_path, "plugins") if row["kind"] == "launcher"}
    assert {"local", "slurm", "sky"} <= set(listed) and all(row["state"] == "ok" for row in listed.values())
    assert {option["key"] for option in as_json(tmp_path, "config", "slurm")} >= {"partition", "hours", "grace_seconds"}
