"""Everything that a report says, from run directories alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlhf_console.headlines import headline
from rlhf_console.report import costs, curves, outcomes, settings
from rlhf_console.report.document import Block, Code, Report, Section, Table, Text
from rlhf_console.runs.store import LiveRun, children_of

PIPELINE = "pipeline"


def report_of(root: Path, run: LiveRun, *, usd_per_gpu_hour: float | None) -> Report:
    """About `run` and its stages, in their order, or about `run` alone. Raises `UserError` if a file can't be read."""
    stages = [stage.catch_up() for stage in children_of(root, run.record.id)]
    runs = stages or [run]
    title = f"{run.record.name or run.record.id}: {run.record.plugin}"
    if run.record.profile:
        title += f", profile {run.record.profile}"
    return Report(
        title,
        [
            _overview(run, runs),
            settings.what_was_trained(runs),
            outcomes.results([run, *stages]),
            outcomes.warnings([run, *stages]),
            outcomes.checks(runs),
            curves.curves(runs),
            outcomes.samples(runs),
            settings.settings(runs),
            costs.costs(runs, usd_per_gpu_hour=usd_per_gpu_hour),
            _reproduction(run, runs),
        ],
    )


def _overview(run: LiveRun, runs: Sequence[LiveRun]) -> Section:
    rows = [
        [
            each.record.stage or each.record.plugin,
            each.state.value,
            f"{each.summary.step}/{each.summary.total_steps}",
            each.summary.attempt,
            len(each.summary.alerts),
            headline(each),
        ]
        for each in runs
    ]
    blocks: list[Block] = [Table(["stage", "state", "steps", "attempts", "alerts", "newest figures"], rows)]
    planned = run.record.config.get("stages", {}) if run.record.plugin == PIPELINE else {}
    begun = [each.record.stage for each in runs]
    unfinished = [each.record.stage or each.record.plugin for each in runs if each.state.value != "finished"]
    unfinished += [name for name in planned if name not in begun]
    if unfinished:
        blocks.append(Text(f"Not finished: {', '.join(unfinished)}. The figures are those of now."))
    return Section("Overview", blocks)


def _reproduction(run: LiveRun, runs: Sequence[LiveRun]) -> Section:
    record = run.record
    seeds = ", ".join(f"{each.record.stage or each.record.plugin} {each.record.seed}" for each in runs)
    facts: list[list[Any]] = [["seed", seeds], *([name, version] for name, version in record.versions.items())]
    if record.git is not None:
        facts.append(
            ["git", record.git.revision + (" (with changes that are not committed)" if record.git.dirty else "")]
        )
    blocks: list[Block] = [Table(["what", "which"], facts)]
    if record.argv:
        blocks += [Text(f"Started in {record.cwd} by:" if record.cwd else "Started by:"), Code(_command(record.argv))]
    blocks.append(Text("Every value of every stage stands in run.json in its run directory."))
    return Section("How to do it again", blocks)


def _command(argv: Sequence[str]) -> str:
    """`argv` is that of `rlhf` without its own name, or that of the console with it."""
    return shlex.join(argv if argv[0] == "rlhf-console" else ["rlhf", *argv])
