"""Options that several verbs share, and how data goes to stdout."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from rlhf_sdk.events import spell_non_finite

RunsOption = Annotated[str, typer.Option("--runs", help="Folder that holds runs; else $RLHF_RUNS, else ./runs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id, unique beginning, name, or latest.")]


def print_json(data: Any) -> None:
    """One JSON document on stdout; non-finite numbers as strings."""
    typer.echo(json.dumps(spell_non_finite(data), indent=2, ensure_ascii=False))
