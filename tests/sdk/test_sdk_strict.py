"""`rlhf run --strict`: a light that fails ends the run with a checkpoint and exit code 4; else it is only shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf_sdk.checkpoints import list_checkpoints
from rlhf_sdk.events import Alert, CheckpointSaved, MetricsLogged
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import list_runs

pytestmark = pytest.mark.usefixtures("troubled")

REASON = "check kl failed: 30 against 10: far away; first look at: kl_coef"
FAILS_IN_STEP_2 = ["troubled", "--set", "troubled.trouble=fails_a_light", "--set", "troubled.checkpoint_every=100"]


def rlhf(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"RLHF_RUNS": str(root), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "rlhf_console", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def only_run(root: Path) -> RunDir:
    (run,) = list_runs(root)
    return run


def steps_of(run: RunDir) -> list[tuple[int, int]]:
    """(attempt, step) of everything that was logged."""
    return [(event.attempt, event.step) for event in run.events() if isinstance(event, MetricsLogged)]


def test_a_strict_run_ends_with_code_4_and_its_reason_and_goes_on_when_resumed(root: Path) -> None:
    ended = rlhf(root, "run", *FAILS_IN_STEP_2, "--strict", "--name", "strict", "--json")
    run = only_run(root)
    assert ended.returncode == 4, ended.stderr
    outcome = json.loads(ended.stdout)
    assert (outcome["state"], outcome["reason"]) == ("failed", REASON)
    alerts = [(alert.code, alert.message) for alert in run.events() if isinstance(alert, Alert)]
    assert alerts == [("check_kl", REASON), ("diverged", REASON)]
    assert [saved.reason for saved in run.events() if isinstance(saved, CheckpointSaved)] == [REASON]
    assert [path.name for path in list_checkpoints(run.checkpoints)] == ["step-00000002"]
    resumed = rlhf(root, "resume", "strict")
    assert resumed.returncode == 0, resumed.stderr
    assert steps_of(run) == [(1, 1), (1, 2), (2, 3)]


def test_without_it_the_run_goes_on(root: Path) -> None:
    ended = rlhf(root, "run", *FAILS_IN_STEP_2, "--name", "lenient")
    assert ended.returncode == 0, ended.stderr
    assert steps_of(only_run(root)) == [(1, 1), (1, 2), (1, 3)]
