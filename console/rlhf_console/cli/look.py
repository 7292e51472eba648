"""Verbs that look: ls, show, watch, logs, samples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from rlhf_console.cli.launcher_options import placed_in_words
from rlhf_console.cli.options import JsonOption, RunArgument, RunsOption, print_json
from rlhf_console.cli.watching import PlainLines, display, exit_code_of, follow
from rlhf_console.headlines import headline
from rlhf_console.printable import printable
from rlhf_console.profiles import flatten
from rlhf_console.render import duration, examples_of_alert, lights, number, result, size, table
from rlhf_console.runs.listing import ListedRun, listed_runs
from rlhf_console.runs.ranks import COLUMNS, HOST_COLUMNS, RankLine, host_lines, rank_lines
from rlhf_console.runs.store import LiveRun, children_of, find
from rlhf_console.runs.tags import MARK, read_tags
from rlhf_sdk.launching import placing
from rlhf_sdk.ranked.reports import read_reports
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import run_root
from rlhf_sdk.states import ENDED, State

FOLLOW_SECONDS = 0.3
SHOWN_ALERTS = 10
SHOWN_RANKS = 12
LOG_BYTES = 4 << 20
"""As much of a log is looked through for its last lines."""


def list_runs(runs: RunsOption = "", as_json: JsonOption = False) -> None:
    """List runs, the newest last."""
    root = run_root(runs)
    found, problems = listed_runs(root)
    waiting = [run.directory for run in found if run.state is State.QUEUED]
    if waiting:
        placing.look_after(waiting)
        found, problems = listed_runs(root)
    for problem in problems:
        typer.echo(f"rlhf: left out: {printable(problem)}", err=True)
    if as_json:
        print_json([_overview(run) for run in found])
        return
    rows = [
        [run.record.id, run.record.plugin, run.state, _steps(run), _age(run.record.created), headline(run)]
        for run in found
    ]
    typer.echo(table(["run", "plugin", "state", "steps", "age", "headline"], rows))


def _steps(run: LiveRun | ListedRun) -> str:
    return f"{run.summary.step}/{run.summary.total_steps}" if run.summary.total_steps else "-"


def _age(created: float) -> str:
    return duration(time.time() - created)


def _overview(run: LiveRun | ListedRun) -> dict[str, Any]:
    summary = run.summary
    return {
        "run": run.record.id,
        "plugin": run.record.plugin,
        "profile": run.record.profile,
        "state": run.state,
        "reason": summary.reason,
        "step": summary.step,
        "total_steps": summary.total_steps,
        "eta_seconds": summary.eta_seconds,
        "attempt": summary.attempt,
        "parents": run.record.parents,
        "tags": read_tags(run.directory),
        "pipeline": run.record.pipeline,
        "created": run.record.created,
        **_placement(run.directory),
        "metrics": {name: series.last for name, series in summary.metrics.items()},
    }


def _placement(run: RunDir) -> dict[str, str]:
    placed = run.placement()
    return {"launcher": placed.launcher, "job": placed.job} if placed else {}


def show(run: RunArgument, runs: RunsOption = "", as_json: JsonOption = False) -> None:
    """Show one run: state, lineage, metrics, phases, checks, checkpoints, results, config."""
    shown = find(run_root(runs), run).catch_up()
    placing.look_after([shown.directory])
    children = [child.catch_up() for child in children_of(run_root(runs), shown.record.id)]
    if as_json:
        data = _overview(shown) | {
            "record": msgspec.to_builtins(shown.record),
            "results": shown.summary.results,
            "checks": [msgspec.to_builtins(check) for check in shown.summary.checks.values()],
            "checkpoints": [saved.name for saved in shown.summary.checkpoints],
            "alerts": [msgspec.to_builtins(alert) for alert in shown.summary.alerts],
            "values_set": [msgspec.to_builtins(change) for change in shown.summary.values_set],
            "notes": shown.summary.notes,
            "stages": [_overview(child) for child in children],
        }
        print_json(data)
        return
    first, then = (_identity, _ranks, _alerts), (_figures, _phases, _checks)
    for part in (*(make(shown) for make in first), _stages(children), *(make(shown) for make in then)):
        if part:
            typer.echo(part + "\n")
    if shown.summary.results:
        typer.echo(_results(shown) + "\n")
    typer.echo(_config(shown))


def _identity(run: LiveRun) -> str:
    record, summary = run.record, run.summary
    lines = {
        "run": record.id,
        "plugin": f"{record.plugin} (profile {record.profile})" if record.profile else record.plugin,
        "state": f"{run.state}" + (f": {summary.reason}" if summary.reason else ""),
        "placed": placed_in_words(run.directory),
        "steps": f"{_steps(run)}, attempt {summary.attempt}",
        "created": f"{_age(record.created)} ago",
        "parents": ", ".join(f"{role} = {parent}" for role, parent in record.parents.items()),
        "checkpoints": ", ".join(saved.name for saved in summary.checkpoints[-3:]),
        "tags": " ".join(f"{MARK}{tag}" for tag in read_tags(run.directory)),
        "directory": str(run.directory.path),
    }
    return "\n".join(f"{name:<12}{printable(text)}" for name, text in lines.items() if text)


def _alerts(run: LiveRun) -> str:
    """The worker's and the shim's, the newest last."""
    newest = sorted(run.summary.alerts, key=lambda alert: alert.time)[-SHOWN_ALERTS:]
    rows = [[_age(alert.time), alert.severity, f"{alert.message}; {alert.advice}".rstrip("; ")] for alert in newest]
    shown = [examples_of_alert(alert) for alert in newest if alert.examples]
    return "\n\n".join([table(["ago", "alert", "message"], rows), *shown]) if rows else ""


def _ranks(run: LiveRun) -> str:
    """What each of several processes does; of many what each host does, and which of them need a look."""
    reports, now = read_reports(run.directory.path), time.time()
    ranks = rank_lines(reports, now)
    if len(ranks) <= SHOWN_RANKS:
        return _rank_table(COLUMNS, ranks)
    hosts = _rank_table(HOST_COLUMNS, host_lines(reports, now))
    return "\n\n".join(filter(None, [hosts, _rank_table(COLUMNS, [line for line in ranks if line.state])]))


def _rank_table(columns: Sequence[str], lines: Sequence[RankLine]) -> str:
    return table([*columns, ""], [[*line.cells, line.state] for line in lines]) if lines else ""


def _stages(children: list[LiveRun]) -> str:
    rows = [[child.record.stage, child.record.id, child.state, _steps(child), headline(child)] for child in children]
    return table(["stage", "run", "state", "steps", "headline"], rows) if rows else ""


def _figures(run: LiveRun) -> str:
    rows = [
        [name, series.values[0], series.last] for name, series in sorted(run.summary.metrics.items()) if series.values
    ]
    return table(["metric", "first", "last"], rows) if rows else ""


def _phases(run: LiveRun) -> str:
    rows = [
        [name, phase.total_seconds, phase.last_seconds, size(phase.memory.get("peak", phase.memory.get("rss", 0)))]
        for name, phase in run.summary.phases.items()
    ]
    return table(["phase", "seconds", "last", "memory"], rows) if rows else ""


def _checks(run: LiveRun) -> str:
    return lights(run.summary.checks.values()) if run.summary.checks else ""


def _results(run: LiveRun) -> str:
    return "\n\n".join(result(name, data) for name, data in run.summary.results.items())


def _config(run: LiveRun) -> str:
    """The values as they are now, and where each came from."""
    values, origins = flatten(run.record.config), dict(run.record.provenance)
    for change in run.summary.values_set:
        values[change.key] = change.value
        origins[change.key] = f"rlhf set, after step {change.step}"
    return table(["config", "value", "from"], [[key, number(v), origins.get(key, "")] for key, v in values.items()])


def watch(
    run: RunArgument = "latest",
    runs: RunsOption = "",
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines, on a terminal too.")] = False,
) -> None:
    """Watch a run until it ends. Ctrl-C leaves the run alone."""
    watched = find(run_root(runs), run)
    try:
        if plain:
            follow(run_root(runs), watched, PlainLines())
        else:
            with display() as shown:
                follow(run_root(runs), watched, shown)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    raise typer.Exit(exit_code_of(watched))


def logs(
    run: RunArgument = "latest",
    runs: RunsOption = "",
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the run writes.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 50,
) -> None:
    """What the run printed."""
    shown = find(run_root(runs), run)
    if not shown.directory.log.exists():
        return
    with shown.directory.log.open(errors="replace") as stream:
        stream.seek(max(0, shown.directory.log.stat().st_size - LOG_BYTES))
        printed = stream.read().removesuffix("\n")
        for line in printed.split("\n")[-lines:] if printed else []:
            typer.echo(printable(line))
        while follow_on:
            line = stream.readline()
            if line:
                typer.echo(printable(line.rstrip("\n")))
            elif shown.state in ENDED:
                return
            else:
                time.sleep(FOLLOW_SECONDS)
