"""Verbs about what there is: plugins, profiles, config, doctor."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from rlhf_console import plugins as plugin_list
from rlhf_console.cli.options import JsonOption, RunsOption, print_json
from rlhf_console.launchers import describe as describe_launcher
from rlhf_console.launchers import list_launchers
from rlhf_console.render import table
from rlhf_sdk.discovery import installed_plugins
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.launching.finding import installed_launchers
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import Distribution
from rlhf_sdk.run_root import list_runs, run_root
from rlhf_sdk.trainer import UserError


def plugins(runs: RunsOption = "", as_json: JsonOption = False) -> None:
    """List installed plugins and launchers, and plugins that runs were made with and that are gone; a broken one with
    its cause."""
    found = plugin_list.list_plugins()
    found += _missing_plugins(run_root(runs), {plugin.name for plugin in found})
    found += list_launchers()
    if as_json:
        print_json([asdict(plugin) for plugin in found])
        return
    for heading, kind in (("plugin", "trainer"), ("launcher", "launcher")):
        rows = [
            [p.name, f"{p.distribution} {p.version}", p.summary if p.state == "ok" else f"{p.state}: {p.problem}"]
            for p in found
            if p.kind == kind
        ]
        typer.echo(("\n" if kind == "launcher" else "") + table([heading, "from", "what it does"], rows))


def _missing_plugins(root: Path, installed: set[str]) -> list[plugin_list.Plugin]:
    """Plugins of recorded runs that are not `installed` here."""
    if not list_runs(root):
        return []
    from rlhf_console.runs.store import headings

    runs = [run for run in headings(root) if run.plugin not in installed]
    newest, counts = {run.plugin: run.id for run in runs}, Counter(run.plugin for run in runs)
    return [
        plugin_list.Plugin(
            name, origin.name, origin.version, "missing", problem=f"not installed; runs of it: {counts[name]}"
        )
        for name, run_id in sorted(newest.items())
        for origin in [RunDir(root / run_id).record().distribution or Distribution("", "")]
    ]


def profiles(as_json: JsonOption = False) -> None:
    """List profiles."""
    from rlhf_console.profiles import list_profiles

    rows = [(name, file, *_profile_summary(name)) for name, file in list_profiles().items()]
    if as_json:
        print_json([{"name": n, "file": str(f), "summary": s, "stages": stages} for n, f, s, stages in rows])
        return
    typer.echo(table(["profile", "stages", "summary"], [[n, " ".join(stages), s] for n, _, s, stages in rows]))


def _profile_summary(name: str) -> tuple[str, list[str]]:
    from rlhf_console.profiles import load_profile

    try:
        profile = load_profile(name)
    except UserError as error:
        return f"broken: {error}", []
    return profile.summary, [stage.name for stage in profile.stages]


def config(
    plugin: Annotated[str, typer.Argument(help="A plugin's name, or a launcher's.")],
    as_json: JsonOption = False,
) -> None:
    """Every option of a plugin: type, default, constraint, help, and the paper that it comes from."""
    launcher = plugin not in installed_plugins() and plugin in installed_launchers()
    described = describe_launcher(plugin) if launcher else plugin_list.describe(plugin)
    options: list[dict[str, Any]] = described["options"]
    if as_json:
        print_json(options)
        return
    columns = ["key", "allowed", "default", "live", "description", "source"]
    typer.echo(table(columns, [[_cell(option.get(column)) for column in columns] for option in options]))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def doctor(runs: RunsOption = "", as_json: JsonOption = False) -> None:
    """Look at this machine: what works, and what to do about the rest."""
    from rlhf_console.doctor import examine

    findings = examine(run_root(runs))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        typer.echo(
            table(["", "what", "found", "what to do"], [[f.status, f.what, f.found, f.advice] for f in findings])
        )
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(ExitCode.USER_ERROR)
