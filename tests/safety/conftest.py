"""Run roots that are left without processes, and plugins installed for a test."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlhf_sdk import launch
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.trainer import UserError

HERE = Path(__file__).parent


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "runs"
    for run in list_runs(tmp_path / "runs"):
        try:
            launch.send_signal(run, signal.SIGKILL)
        except UserError:
            continue


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Installs the plugin of `<name>_plugin.txt` for this process and its children."""
    site = tmp_path / "site"
    installed: list[str] = []

    def install_plugin(name: str) -> None:
        metadata = site / f"{name}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[rlhf.trainers]\n{name} = {name}_plugin:plugin\n")
        (site / f"{name}_plugin.py").write_text((HERE / f"{name}_plugin.txt").read_text())
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
        installed.append(name)

    yield install_plugin
    for name in installed:
        sys.modules.pop(f"{name}_plugin", None)
