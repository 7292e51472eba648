"""CPU seconds of runs, from the samples in `machine.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import msgspec

from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.tail import Tail


def cpu_seconds(run: RunDir) -> float:
    """What the run's worker used in all its attempts; 0 where nothing was sampled."""
    samples = Tail(run.machine_file, msgspec.json.Decoder(MachineSample).decode)
    return sum(
        (later.time - earlier.time) * later.cpu_percent / 100
        for earlier, later in pairwise(samples)
        if earlier.attempt == later.attempt
    )


def lineage_cpu_seconds(runs: Iterable[RunDir]) -> float:
    """What `runs` and all runs that they came from used, each counted once; parents are looked for beside them."""
    waiting, counted = list(runs), set[Path]()
    total = 0.0
    while waiting:
        run = waiting.pop()
        if run.path in counted or not run.record_file.exists():
            continue
        counted.add(run.path)
        total += cpu_seconds(run)
        waiting += [RunDir(run.path.parent / parent) for parent in run.record().parents.values()]
    return total
