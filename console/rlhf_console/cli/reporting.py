"""The verb that writes a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlhf_console.cli.options import JsonOption, RunArgument, RunsOption, print_json
from rlhf_console.runs.store import find
from rlhf_sdk.run_root import run_root
from rlhf_sdk.trainer import UserError


def report(
    run: RunArgument = "latest",
    runs: RunsOption = "",
    out: Annotated[Path, typer.Option("--out", help="Folder for RUN.html and RUN.md.")] = Path(),
    usd_per_gpu_hour: Annotated[
        float | None, typer.Option("--usd-per-gpu-hour", min=0, help="What an hour of one GPU costs.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write what a run or pipeline did, with what and with which result: one HTML file, and Markdown."""
    from rlhf_console.report.gather import report_of
    from rlhf_console.report.html import html
    from rlhf_console.report.markdown import markdown

    root = run_root(runs)
    shown = find(root, run).catch_up()
    document = report_of(root, shown, usd_per_gpu_hour=usd_per_gpu_hour)
    texts = {"html": html(document), "md": markdown(document)}
    files = {suffix: out / f"{shown.record.id}.{suffix}" for suffix in texts}
    for suffix, file in files.items():
        _write(file, texts[suffix])
    if as_json:
        print_json({"run": shown.record.id} | {suffix: str(file) for suffix, file in files.items()})
        return
    for file in files.values():
        typer.echo(file)


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"{file} can't be written: {error.strerror}") from error
