"""What policies cost: CPU seconds of the runs that made them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlhf_sdk.cpu_time import lineage_cpu_seconds
from rlhf_sdk.run_dir import RunDir


def training_cpu_seconds(models: Sequence[str]) -> float | None:
    """Of the runs that saved `models` (RUN/checkpoints/STEP/NAME) and of all that these came from, each counted once.

    None if one of them is no run's.
    """
    runs = [RunDir(Path(model).absolute().parents[2]) for model in models if len(Path(model).absolute().parents) > 2]
    if len(runs) < len(models) or not all(run.record_file.exists() for run in runs):
        return None
    return lineage_cpu_seconds(runs)
