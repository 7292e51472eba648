"""`python -m benchmarks.pipeline_record NAME RUN [--runs DIR]`: keeps what a finished pipeline found and cost."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.record import record
from rlhf_sdk.cpu_time import cpu_seconds
from rlhf_sdk.events import ChildRun, Note, Result
from rlhf_sdk.run_dir import RunDir


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.pipeline_record", description=__doc__)
    parser.add_argument("name", help="of the file in benchmarks/results")
    parser.add_argument("run", help="the pipeline's run")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    pipeline = RunDir(arguments.runs / arguments.run)
    stages = {stage: stage_record(run) for stage, run in stage_runs(pipeline).items()}
    total = sum(stage["cpu_seconds"] for stage in stages.values())
    record(
        arguments.name,
        {
            "profile": pipeline.record().profile,
            "cpu_seconds": total,
            "minutes_on_two_cores": total / 120,
            "stages": stages,
        },
    )


def stage_runs(pipeline: RunDir) -> dict[str, RunDir]:
    """The run of each stage, those included that were reused."""
    return {
        event.stage: RunDir(pipeline.root / event.run_id) for event in pipeline.events() if isinstance(event, ChildRun)
    }


def stage_record(run: RunDir) -> dict[str, Any]:
    """What a stage was told, what it noted and found, and its CPU seconds in all attempts."""
    events = list(run.events())
    return {
        "run": run.id,
        "cpu_seconds": cpu_seconds(run),
        "config": run.record().config,
        "notes": [event.text for event in events if isinstance(event, Note)],
        "results": {event.name: event.data for event in events if isinstance(event, Result)},
    }


if __name__ == "__main__":
    main()
