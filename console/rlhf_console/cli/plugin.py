"""Verbs for people who write plugins: plugin new, plugin check."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from rlhf_console.cli.options import JsonOption, print_json
from rlhf_console.new_plugin import write_plugin
from rlhf_console.printable import printable
from rlhf_console.profiles import flatten, parse_settings
from rlhf_sdk.contract.asking import ask, target_of
from rlhf_sdk.contract.finding import Finding, Request
from rlhf_sdk.exit_codes import ExitCode

COLUMNS = 80
STATE, RULE = 7, 14
STATES = ("pass", "warn", "fail", "skipped")

app = typer.Typer(
    help="Write a plugin of your own, and try whether it keeps the contract.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What `rlhf run` will call it.")],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Folder to make it in.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write a small plugin that works: trainer, config, charts, a test of the contract. Never overwrites."""
    files = write_plugin(name, into)
    folder = into / name
    if as_json:
        print_json({"directory": str(folder), "files": [str(file) for file in files]})
        return
    typer.echo(f"{folder}/\n" + "".join(f"  {file.relative_to(folder)}\n" for file in files))
    typer.echo(f"What next\n  rlhf plugin check {folder}\n  pip install -e {folder}\n  rlhf run {name}")


@app.command("check")
def check(
    place: Annotated[str, typer.Argument(metavar="PATH|NAME", help="A plugin's source folder, or an installed one.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME.KEY=VALUE: the config to try it with; repeatable.")
    ] = None,
    diverge: Annotated[
        list[str] | None, typer.Option("--diverge", help="NAME.KEY=VALUE that makes the loss infinite; repeatable.")
    ] = None,
    rules: Annotated[list[str] | None, typer.Option("--rule", help="Only this rule; repeatable.")] = None,
    seconds: Annotated[float, typer.Option("--timeout", help="Seconds that one run may take.")] = 120.0,
    as_json: JsonOption = False,
) -> None:
    """Try whether a plugin keeps the contract: declares, runs, pauses, stops, is killed, resumes to the same bits.

    A run of it has six steps where its config has `steps`. Exit code 3 if a rule fails.
    """
    with target_of(place) as target:
        given, diverging = (parse_settings(texts or [], target.plugins) for texts in (settings, diverge))
        requests = [
            Request(
                plugin=plugin,
                config=given.get(plugin, {}),
                diverging=flatten(diverging.get(plugin, {})),
                rules=rules or [],
                seconds=seconds,
            )
            for plugin in target.plugins
        ]
        found = _collect(ask(target, requests), as_json=as_json)
    if any(finding.state == "fail" for finding in found):
        raise typer.Exit(ExitCode.PLUGIN_FAILED)


def _collect(findings: Iterable[Finding], *, as_json: bool) -> list[Finding]:
    """All of them; as a table each is printed as soon as it is there."""
    if as_json:
        found = list(findings)
        print_json([_plain(finding) for finding in found])
        return found
    found = []
    for finding in findings:
        if not found or found[-1].plugin != finding.plugin:
            typer.echo(printable(finding.plugin))
        found.append(finding)
        typer.echo(_lines(finding))
    counts = Counter[str](finding.state for finding in found)
    typer.echo("\n" + ", ".join(f"{counts[state]} {state}" for state in STATES))
    return found


def _plain(finding: Finding) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(finding)
    return plain


def _lines(finding: Finding) -> str:
    """What was found; below it, where the rule is not kept, what it demands and what to do."""
    head = f"{finding.state:<{STATE}}  {finding.rule:<{RULE}}  "
    said = [finding.found or finding.demand]
    if finding.state in ("warn", "fail"):
        said.append(f"demanded: {finding.demand}")
    if finding.advice:
        said.append(f"what to do: {finding.advice}")
    firsts = [head, *[" " * len(head)] * (len(said) - 1)]
    return "\n".join(_wrapped(text, first) for text, first in zip(said, firsts, strict=True))


def _wrapped(text: str, first: str) -> str:
    return textwrap.fill(printable(text), COLUMNS, initial_indent=first, subsequent_indent=" " * len(first))
