"""A cluster and a cloud that are small scripts: they write down what they are told, and say what a test wants."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlhf_sdk import launch
from rlhf_sdk.launching.asking import chosen
from rlhf_sdk.launching.contract import Choice
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.trainer import UserError

SLURM = {
    "srun": "exit 1",
    "sbatch": 'count=$(cat "$STUB/count"); echo $((count + 1)) > "$STUB/count"\n'
    'cp "$1" "$STUB/$count.sh"; echo "Submitted batch job $count"',
    "squeue": 'echo "$@" >> "$STUB/asked"; cat "$STUB/queue"',
    "scancel": 'echo "$@" >> "$STUB/cancelled"',
    "scontrol": 'echo "$@" >> "$STUB/controlled"',
}
SKY = {"sky": 'echo "$@" >> "$STUB/sky"\ncase "$2" in queue) cat "$STUB/queue";; esac'}


@dataclass
class Stub:
    """The folder that the scripts write to; jobs are called 4711, 4712 and so on."""

    folder: Path

    def queue(self, text: str) -> None:
        (self.folder / "queue").write_text(text)

    def told(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def script(self, job: str) -> dict[str, str]:
        """The options of a batch script by name, and its last command as `run`."""
        lines = (self.folder / f"{job}.sh").read_text().splitlines()
        options = [line.removeprefix("#SBATCH --").partition("=") for line in lines if line.startswith("#SBATCH")]
        found = {name: value.strip("'") for name, _, value in options}
        return found | {"run": [line for line in lines if line.strip()][-1], "all": "\n".join(lines)}


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
