"""Verbs that exchange runs with other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rlhf_console.cli.options import JsonOption, RunArgument, RunsOption, print_json
from rlhf_console.runs.store import find
from rlhf_sdk.run_root import run_root
from rlhf_sdk.trainer import UserError

Target = Literal["csv", "parquet", "tensorboard", "wandb", "trackio", "model"]
Source = Literal["trl", "verl", "tensorboard"]


def export_run(
    run: RunArgument = "latest",
    target: Annotated[Target, typer.Option("--to", help="What to write.")] = "csv",
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")] = Path(),
    at: Annotated[
        str, typer.Option("--at", help="With model: checkpoint, such as step-00000120; else the newest.")
    ] = "",
    runs: RunsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write a run's metrics and samples, or the model of a checkpoint, for another tool."""
    from rlhf_console.exchange.exporting import export, export_model

    shown = find(run_root(runs), run)
    if target == "model":
        files = [str(export_model(shown.directory, at, out))]
    elif at:
        raise UserError("--at names a checkpoint, and goes with --to model")
    else:
        files = [str(file) for file in export(shown.catch_up(), target, out)]
    if as_json:
        print_json({"run": shown.record.id, "files": files})
        return
    for file in files:
        typer.echo(file)


def import_run(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, or folders of them.")],
    source: Annotated[Source, typer.Option("--from", help="What wrote them.")],
    name: Annotated[str, typer.Option("--name", help="Name of the new run; else the format's.")] = "",
    runs: RunsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a run of another trainer's logs: TRL's completions, verl's rollouts, TensorBoard's scalars."""
    from rlhf_console.exchange.importing import import_log

    made = import_log(run_root(runs), paths, source, name)
    if as_json:
        print_json({"run": made.id})
        return
    typer.echo(made.id)
