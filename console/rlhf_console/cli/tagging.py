"""The verb that puts words on runs: tag."""

from __future__ import annotations

from typing import Annotated

import typer

from rlhf_console.cli.options import JsonOption, RunArgument, RunsOption, print_json
from rlhf_console.runs.store import find
from rlhf_console.runs.tags import MARK, checked_tag, read_tags, write_tags
from rlhf_sdk.run_root import run_root


def tag(
    run: RunArgument,
    tags: Annotated[list[str] | None, typer.Argument(metavar="[TAG...]", help="Tags to add.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="A tag to take away; repeatable.")] = None,
    runs: RunsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Add or take away tags of a run, and print those that it has. The console's list finds runs by #TAG."""
    directory = find(run_root(runs), run).directory
    kept = read_tags(directory)
    if tags or remove:
        gone = {checked_tag(each) for each in remove or []}
        kept = write_tags(directory, {*kept, *map(checked_tag, tags or [])} - gone)
    if as_json:
        print_json({"run": directory.id, "tags": kept})
    elif kept:
        typer.echo(" ".join(f"{MARK}{each}" for each in kept))
