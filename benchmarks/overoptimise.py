"""`rlhf demo --overoptimise`, once: what its probes, alerts and evaluation say."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import record
from rlhf_sdk.events import Alert, Result
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import list_runs


def main() -> None:
    command = [str(Path(sys.executable).with_name("rlhf")), "demo", "--overoptimise"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, "--runs", folder], check=True, env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"})
        keep(Path(folder))


def keep(root: Path) -> None:
    """Records the only demo in `root`."""
    stages = {run.record().stage: run for run in list_runs(root) if run.record().stage}
    git = next(iter(stages.values())).record().git
    told = {"what": "rlhf demo --overoptimise", "run_commit": git.revision if git else None}
    record("overoptimise", told | {"stages": {name: found(run) for name, run in stages.items() if name}})


def found(run: RunDir) -> dict[str, Any]:
    """Newest results by name, without examples, and alerts."""
    events = list(run.events())
    results = {event.name: event.data for event in events if isinstance(event, Result)}
    alerts = [event for event in events if isinstance(event, Alert)]
    return {
        "results": {name: {key: data[key] for key in data if key != "examples"} for name, data in results.items()},
        "alerts": [{"code": alert.code, "update": alert.step, "figures": alert.figures} for alert in alerts],
    }
