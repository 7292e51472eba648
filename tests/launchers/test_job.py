"""What a job runs, wherever it is: an attempt, a machine that vanishes, and the page's launcher of thirty lines."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from rlhf_sdk import launch
from rlhf_sdk.events import MetricsLogged
from rlhf_sdk.launching import asking, placing
from rlhf_sdk.launching.asking import chosen
from rlhf_sdk.launching.contract import LOCAL, Choice
from rlhf_sdk.launching.mirror import Mirror
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

PAGE = Path(__file__).parents[2] / "docs" / "writing_a_plugin.md"


def logged(run: RunDir) -> list[MetricsLogged]:
    return [event for event in run.events() if isinstance(event, MetricsLogged)]


def test_a_job_is_a_command_that_passes_signals_on_and_can_be_called_again(root: Path) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": 6, "delay_seconds": 0.2})
    command = placing.job_of(run, launch.NO_OPTIONS).command
    job = subprocess.Popen(command)
    while len(logged(run)) < 2:
        time.sleep(0.02)
    job.send_signal(signal.SIGUSR1)
    assert job.wait() == 75 and run.state() is State.REQUEUED
    assert [subprocess.run(command, check=False).returncode for _ in range(2)] == [0, 0]
    status = run.status()
    assert status is not None and status.attempt == 2, "a run that is finished is not begun again"


def test_the_local_launcher_keeps_the_same_contract(root: Path) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": 500, "delay_seconds": 0.1})
    placing.place([run], LOCAL, launch.NO_OPTIONS)
    said, placed = placing.job_state(run), run.placement()
    assert said is not None and said.state == "running" and placed is not None
    asking.cancel(LOCAL, placed.job)
    verdict = launch.wait(run)
    assert verdict is not None and (verdict.state, verdict.exit_code) == (State.STOPPED, 143)
    said = placing.job_state(run)
    assert said is not None and said.state == "ended"


def test_a_run_goes_on_where_the_machine_that_vanished_had_copied_it(root: Path, tmp_path: Path) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": 8, "delay_seconds": 0.1, "checkpoint_every": 1})
    bucket = tmp_path / "bucket" / run.id
    elsewhere = RunDir(tmp_path / "machine" / run.id)
    shutil.copytree(run.path, elsewhere.path)
    with Mirror(run.path, bucket):
        launch.start(run)
        while len(list(run.checkpoints.glob("step-*"))) < 2:
            time.sleep(0.02)
        launch.send_signal(run, signal.SIGKILL)
        launch.wait(run)
    (sorted(bucket.glob("checkpoints/*/MANIFEST.json"))[-1]).unlink()
    command = [*placing.job_of(elsewhere, launch.NO_OPTIONS).command, "--mirror", str(bucket)]
    assert subprocess.run(command, check=False).returncode == 0
    assert elsewhere.state() is State.FINISHED and RunDir(bucket).state() is State.FINISHED
    assert logged(elsewhere)[-1].values["echo/sum"] == pytest.approx(sums(8))


def sums(steps: int) -> float:
    """What an echo of seed 0 comes to."""
    return sum(random.Random(f"0/{step}").random() for step in range(steps))


def test_the_page_has_a_launcher_that_works(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, programs = tmp_path / "site", tmp_path / "bin"
    (site / "box-1.0.dist-info").mkdir(parents=True)
    (site / "box-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: box\nVersion: 1.0\n")
    (site / "box-1.0.dist-info" / "entry_points.txt").write_text("[rlhf.launchers]\nbox = box:spec\n")
    section = PAGE.read_text().partition("## A launcher")[2]
    (site / "box.py").write_text(section.partition("```python\n")[2].partition("```")[0])
    programs.mkdir()
    (programs / "ssh").write_text(
        '#!/bin/sh\n[ "$1" = other ] && exec sh -c "$2"\necho "no route to $1" >&2; exit 255\n'
    )
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(site))
    run = launch.create_run(root, plugin="echo", config={"steps": 500, "delay_seconds": 0.1})
    with pytest.raises(UserError, match="no route to nowhere"):
        launch.begin(run, choice=chosen("box", {"host": "nowhere"}))
    launch.begin(run, choice=chosen("box", {"host": "other"}))
    while not logged(run):
        time.sleep(0.02)
    said, placed = placing.job_state(run), run.placement()
    assert said is not None and (said.state, said.host) == ("running", "other") and placed is not None
    asking.cancel(Choice(launcher="box", options=placed.options), placed.job)
    verdict = launch.wait(run)
    assert verdict is not None and verdict.state is State.STOPPED
