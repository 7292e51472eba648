"""A run root that is left without processes, and plugins that misbehave on request."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlhf_sdk import launch
from rlhf_sdk.events import MetricsLogged, Started
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.trainer import UserError

TROUBLED = Path(__file__).with_name("troubled_plugin.txt")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "runs"
    for run in list_runs(tmp_path / "runs"):
        try:
            launch.send_signal(run, signal.SIGKILL)
        except UserError:
            continue


@pytest.fixture
def begin(root: Path) -> Callable[..., RunDir]:
    """Creates and starts a run of a plugin with the config given by keyword."""

    def begin_run(plugin: str = "echo", **config: Any) -> RunDir:
        run = launch.create_run(root, plugin=plugin, config=config)
        launch.start(run)
        return run

    return begin_run


@pytest.fixture
def folded() -> Callable[[RunDir], dict[int, dict[str, float]]]:
    """Metrics by step, without what a restart superseded."""

    def fold(run: RunDir) -> dict[int, dict[str, float]]:
        events = list(run.events())
        starts = [event for event in events if isinstance(event, Started)]

        def superseded(event: MetricsLogged) -> bool:
            return any(start.attempt > event.attempt and event.seq > start.resumed_seq for start in starts)

        logged = [event for event in events if isinstance(event, MetricsLogged) and not superseded(event)]
        assert len({event.step for event in logged}) == len(logged)
        return {event.step: event.values for event in logged}

    return fold


@pytest.fixture
def troubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Installs a distribution with the plugins of `troubled_plugin.txt` for this process and its children."""
    site = tmp_path / "site"
    metadata = site / "troubled-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: troubled\nVersion: 1.0\n")
    names = ("troubled", "not_a_spec", "old_contract")
    points = "".join(f"{name} = troubled_plugin:{name}\n" for name in names) + "unimportable = nowhere_at_all:plugin\n"
    (metadata / "entry_points.txt").write_text("[rlhf.trainers]\n" + points)
    (site / "troubled_plugin.py").write_text(TROUBLED.read_text())
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    yield site
    sys.modules.pop("troubled_plugin", None)
