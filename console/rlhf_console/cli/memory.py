"""The verb that shows where a run's memory went."""

from __future__ import annotations

from typing import Any

import msgspec
import typer

from rlhf_console.cli.options import JsonOption, RunArgument, RunsOption, print_json
from rlhf_console.memory_report import memory_report, report_text
from rlhf_console.planned import rows_of
from rlhf_console.runs.store import LiveRun, find
from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.run_root import run_root
from rlhf_sdk.tail import decoded, last_lines
from rlhf_sdk.trainer import UserError


def memory(run: RunArgument = "latest", runs: RunsOption = "", as_json: JsonOption = False) -> None:
    """Show a run's memory: by role, by phase beside the plan, its peak, and a forecast."""
    root = run_root(runs)
    shown = find(root, run).catch_up()
    report = memory_report(shown.summary, _planned(shown), _newest_sample(shown))
    if as_json:
        print_json({"run": shown.record.id} | report)
        return
    typer.echo(f"run {shown.record.id}: {shown.state}, step {shown.summary.step}/{shown.summary.total_steps}\n")
    typer.echo(report_text(report) or "no phase has ended yet")


def _planned(run: LiveRun) -> list[dict[str, Any]]:
    """Rows of the plan; none where the plugin has none, or the models that it needs are gone."""
    try:
        return rows_of(run)
    except UserError:
        return []


def _newest_sample(run: LiveRun) -> MachineSample | None:
    lines = last_lines(run.directory.machine_file, 1)
    found = list(decoded(lines, msgspec.json.Decoder(MachineSample).decode))
    return found[-1] if found else None
