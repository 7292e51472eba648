"""The demo on five seeds that were fixed beforehand and never used for tuning; every one is recorded, failures too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.record import record
from rlhf_sdk.cpu_time import cpu_seconds
from rlhf_sdk.run_dir import RunDir

SEEDS = (81, 82, 83, 84, 85)


def run_demo(seed: int, runs: Path) -> dict[str, Any]:
    """What one demo found, with wall and CPU seconds of everything that it started."""
    command = [str(Path(sys.executable).with_name("rlhf")), "demo", "--seed", str(seed), "--runs", str(runs), "--json"]
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"})
    wall = time.perf_counter() - began
    found = json.loads(done.stdout) if done.stdout else {}
    seconds = sum(cpu_seconds(RunDir(file.parent)) for file in runs.glob("*/machine.jsonl"))
    return {"seed": seed, "exit_code": done.returncode, "wall_seconds": wall, "cpu_seconds": seconds, **found}


def main() -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            results.append(run_demo(seed, Path(folder) / str(seed)))
            print(f"seed {seed}: exit {results[-1]['exit_code']}, {results[-1]['wall_seconds']:.0f} s")
            record("demo-seeds", {"seeds": results})
