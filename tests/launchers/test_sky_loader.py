"""SkyPilot's own loader reads the tasks that the launcher writes, and understands what was meant. `make clusters` makes
the environment that this needs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rlhf_plugins.launchers import SkyOptions
from rlhf_plugins.launchers.sky import task
from rlhf_sdk import launch
from rlhf_sdk.launching import placing
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir

PYTHON = Path(__file__).parents[2] / ".venv-clusters" / "bin" / "python"
READ = """
import json, sys
import sky
task = sky.Task.from_yaml(sys.argv[1])
(wanted,) = task.resources
print(json.dumps({
    "name": task.name, "nodes": task.num_nodes, "run": task.run, "setup": task.setup, "workdir": task.workdir,
    "accelerators": wanted.accelerators, "spot": wanted.use_spot, "recovery": wanted.job_recovery,
    "infra": wanted.infra.to_str(), "cpus": wanted.cpus, "memory": wanted.memory, "disk": wanted.disk_size,
    "mounts": task.file_mounts,
    "stores": {path: [str(store.source), store.mode.value] for path, store in task.storage_mounts.items()},
}))
"""


@pytest.fixture
def echo(root: Path) -> RunDir:
    return launch.create_run(root, plugin="echo", config={"steps": 2})


def understood(run: RunDir, options: SkyOptions, home: Path) -> dict[str, Any]:
    """The task as SkyPilot has read it."""
    made = task(placing.job_of(run, AttemptOptions(processes=8)), "job", options)
    (home / "task.yaml").write_text(json.dumps(made))
    command = [str(PYTHON), "-c", READ, str(home / "task.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HOME": str(home)}, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not PYTHON.exists(), reason="skypilot is not installed beside us: make clusters")
def test_skypilot_reads_the_task_as_it_was_meant(echo: RunDir, tmp_path: Path) -> None:
    options = SkyOptions(
        bucket="s3://my-runs", infra="aws/us-east-1", accelerators="H100:8", cpus="32+", memory_gib="256+",
        workdir=str(tmp_path), mounts={"~/data": str(tmp_path)},
    )  # fmt: skip
    seen = understood(echo, options, tmp_path)
    assert (seen["name"], seen["nodes"], seen["setup"], seen["workdir"]) == ("job", 1, options.setup, str(tmp_path))
    assert seen["accelerators"] == {"H100": 8} and seen["spot"] is True and seen["infra"] == "aws/us-east-1"
    assert (seen["cpus"], seen["memory"], seen["disk"]) == ("32+", "256+", 256)
    assert seen["recovery"]["recover_on_exit_codes"] == [75] and seen["recovery"]["max_restarts_on_errors"] == 0
    assert seen["mounts"] == {f"~/rlhf-runs/{echo.id}": str(echo.path), "~/data": str(tmp_path)}
    assert seen["stores"] == {"~/rlhf-bucket": ["s3://my-runs", "MOUNT"]}
    assert "rlhf_sdk.launching.job" in seen["run"]
