"""Programs of a cluster and a cloud that write down what they are told; a run root without processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlhf_sdk import launch
from rlhf_sdk.launching.asking import chosen
from rlhf_sdk.launching.contract import Choice
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.trainer import UserError
from stub_programs import SKY, SLURM, Stub


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    folder = tmp_path / "stub"
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name, body in (SLURM | SKY).items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    (folder / "count").write_text("4711\n")
    (folder / "queue").write_text("")
    monkeypatch.setenv("STUB", str(folder))
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    return Stub(folder)


@pytest.fixture
def slurm() -> Choice:
    return chosen("slurm", {"partition": "gpu", "hours": 2, "grace_seconds": 120})


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A run root that is left without processes."""
    yield tmp_path / "runs"
    for run in list_runs(tmp_path / "runs"):
        try:
            launch.send_signal(run, signal.SIGKILL)
        except UserError:
            continue


@pytest.fixture
def echo(root: Path) -> RunDir:
    return launch.create_run(root, plugin="echo", config={"steps": 2})
