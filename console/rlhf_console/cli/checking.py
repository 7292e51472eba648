"""The verb that tries before it runs: check."""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import Annotated

import msgspec
import typer

from rlhf_console.checking import check_rows
from rlhf_console.cli.config_options import FromOption, PluginArgument, ProfileOption, SettingsOption
from rlhf_console.cli.options import JsonOption, RunsOption, print_json
from rlhf_console.printable import printable
from rlhf_console.render import number
from rlhf_console.requests import resolve_check
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.run_root import run_root
from rlhf_sdk.spec import CheckRow
from rlhf_sdk.trainer import RunFailure

WIDTHS = (7, 32, 10)
COLUMNS = 80


def check(
    plugin: PluginArgument,
    profile: ProfileOption = "",
    model: Annotated[str, typer.Option("--model", help="Directory or hub id: as --set PLUGIN.model.path=...")] = "",
    data: Annotated[str, typer.Option("--data", help="File, hub id or world: as --set PLUGIN.data.source=[...]")] = "",
    settings: SettingsOption = None,
    from_runs: FromOption = None,
    runs: RunsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Try what a run would do, in a minute: data, weights, one small update, memory, time. Exit code 4 if any fails."""
    shorthands = {"model.path": json.dumps(model) if model else "", "data.source": json.dumps([data]) if data else ""}
    added = [f"{plugin}.{key}={value}" for key, value in shorthands.items() if value]
    root = run_root(runs)
    request = resolve_check(plugin, profile, [*(settings or []), *added], from_runs or [], root)
    try:
        found = _collect(check_rows(plugin, request, root), as_json=as_json)
    except RunFailure as failure:
        print(f"rlhf: {printable(str(failure))}", file=sys.stderr)
        raise typer.Exit(failure.exit_code) from None
    if as_json:
        print_json({"plugin": plugin, "rows": [msgspec.to_builtins(row) for row in found]})
    if any(row.state == "fail" for row in found):
        raise typer.Exit(ExitCode.DIVERGED)


def _collect(rows: Iterable[CheckRow], *, as_json: bool) -> list[CheckRow]:
    """All rows; as a table each is printed as soon as it is there."""
    if as_json:
        return list(rows)
    found: list[CheckRow] = []
    for row in rows:
        if not found:
            typer.echo(_line("state", "check", "figure", "threshold"))
            typer.echo(_line(*("-" * width for width in (*WIDTHS, 14))))
        found.append(row)
        typer.echo(_row(row))
    counts = Counter(row.state for row in found)
    typer.echo("\n" + ", ".join(f"{counts[state]} {state}" for state in ("ok", "warn", "fail", "skipped")))
    return found


def _line(state: str, name: str, figure: str, tolerance: str) -> str:
    first, second, third = WIDTHS
    return f"{state:<{first}}  {name:<{second}}  {figure:>{third}}  {tolerance}".rstrip()


def _row(row: CheckRow) -> str:
    """One line; below it what the figure is and what to do, where it is not ok or has no threshold."""
    figure = "" if row.figure is None else number(row.figure)
    lines = [_line(row.state, printable(row.name), figure, printable(row.tolerance))]
    if row.state != "ok" or not row.tolerance:
        said = "; ".join(part for part in (row.meaning, row.advice and f"first look at: {row.advice}") if part)
        indent = " " * (WIDTHS[0] + 2)
        lines.append(textwrap.fill(printable(said), COLUMNS, initial_indent=indent, subsequent_indent=indent))
    return "\n".join(lines)
