"""Everything that a report says, from run directories alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlhf_console.headlines import headline
from rlhf_console.report import costs, curves, outcomes, settings
from rlhf_console.report.document import Report, Section, Table
from rlhf_console.report.hacking import hacking
from rlhf_console.report.lineage import ancestors, examined_later, what_was_trained
from rlhf_console.report.naming import name_of
from rlhf_console.report.reproduction import reproduction
from rlhf_console.report.reward_model import reward_model
from rlhf_console.report.summary import summary
from rlhf_console.runs.store import LiveRun, children_of

PIPELINE = "pipeline"


def report_of(root: Path, run: LiveRun, *, usd_per_gpu_hour: float | None) -> Report:
    """About `run` and its stages, in their order, or about `run` alone. Raises `UserError` if a file can't be read."""
    stages = [stage.catch_up() for stage in children_of(root, run.record.id)]
    runs = stages or [run]
    earlier, unfinished, whole = ancestors(root, runs), _unfinished(run, runs), [run, *stages]
    return Report(
        _title(run),
        [
            summary(whole, unfinished),
            _overview(runs),
            what_was_trained(runs, earlier),
            outcomes.results(whole),
            reward_model([*earlier, *whole, *examined_later(root, [*earlier, *runs])]),
            hacking(whole),
            outcomes.warnings(whole),
            outcomes.checks(runs),
            curves.curves(runs),
            outcomes.samples(runs),
            settings.settings(runs),
            costs.costs(runs, usd_per_gpu_hour=usd_per_gpu_hour),
            reproduction(run, runs),
        ],
    )


def _title(run: LiveRun) -> str:
    title = f"{run.record.name or run.record.id}: {run.record.plugin}"
    return f"{title}, profile {run.record.profile}" if run.record.profile else title


def _overview(runs: Sequence[LiveRun]) -> Section:
    rows = [
        [
            name_of(each),
            each.state.value,
            f"{each.summary.step}/{each.summary.total_steps}",
            each.summary.attempt,
            len(each.summary.alerts),
            headline(each),
        ]
        for each in runs
    ]
    return Section("Overview", [Table(["stage", "state", "steps", "attempts", "alerts", "newest figures"], rows)])


def _unfinished(run: LiveRun, runs: Sequence[LiveRun]) -> list[str]:
    """Stages that go on, failed, or have yet to begin; finished runs that stand in for stages are none."""
    config = run.record.config if run.record.plugin == PIPELINE else {}
    there = {*map(name_of, runs), *config.get("reuse", {})}
    waiting = [name for name in config.get("stages", {}) if name not in there]
    return [name_of(each) for each in runs if each.state.value != "finished"] + waiting
