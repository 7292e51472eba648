"""What a run logged, for other tools: metrics by step, and samples; and the models that it left."""

from __future__ import annotations

import csv
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec

from rlhf_console.exchange.optional import optional_module
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.events import Sample
from rlhf_sdk.forking import find_checkpoint
from rlhf_sdk.references import MODEL
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.shards.assembling import copy_model
from rlhf_sdk.trainer import UserError

Row = dict[str, Any]
PLACES = ("step", "time")


def metric_rows(run: LiveRun) -> list[Row]:
    """A row for each step that logged something: step, Unix time in seconds, and the metrics by name."""
    rows: dict[int, Row] = {}
    for name, series in run.summary.metrics.items():
        for step, value, time in zip(series.steps, series.values, series.times, strict=True):
            rows.setdefault(step, {"step": step, "time": time})[name] = value
    return [rows[step] for step in sorted(rows)]


def sample_rows(run: LiveRun) -> list[Row]:
    """A row for each sample that no later attempt made again; its metrics as columns of their own."""
    newest: dict[tuple[Any, ...], Sample] = {}
    for sample in run.directory.samples():
        newest[sample.step, sample.tag, sample.index, sample.prompt] = sample
    return [_sample_row(sample) for sample in newest.values()]


def _sample_row(sample: Sample) -> Row:
    fields: Row = msgspec.to_builtins(sample)
    for left_out in ("seq", "attempt", "token_ends", "token_values"):
        del fields[left_out]
    figures: Row = fields.pop("metrics")
    return fields | figures


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Every key of any row, in the order of their first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def to_csv(run: LiveRun, folder: Path) -> list[Path]:
    """RUN.metrics.csv and RUN.samples.csv."""

    def write(file: Path, rows: Sequence[Row]) -> None:
        with file.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
            writer = csv.DictWriter(stream, columns_of(rows))
            writer.writeheader()
            writer.writerows(rows)

    return _both_tables(run, folder, "csv", write)


def to_parquet(run: LiveRun, folder: Path) -> list[Path]:
    """RUN.metrics.parquet and RUN.samples.parquet."""
    arrow, parquet = optional_module("pyarrow"), optional_module("pyarrow.parquet")

    def write(file: Path, rows: Sequence[Row]) -> None:
        columns = {name: [row.get(name) for row in rows] for name in columns_of(rows)}
        parquet.write_table(arrow.table(columns), file)

    return _both_tables(run, folder, "parquet", write)


def _both_tables(run: LiveRun, folder: Path, suffix: str, write: Callable[[Path, Sequence[Row]], None]) -> list[Path]:
    tables = {"metrics": metric_rows(run), "samples": sample_rows(run)}
    files = {name: folder / f"{run.record.id}.{name}.{suffix}" for name, rows in tables.items() if rows}
    for name, file in files.items():
        write(file, tables[name])
    return list(files.values())


def to_tensorboard(run: LiveRun, folder: Path) -> list[Path]:
    """An event file in a folder named after the run: scalars by step, with their own times."""
    writing = optional_module("tensorboard.summary.writer.event_file_writer")
    protos = optional_module("tensorboard.compat.proto.event_pb2")
    summaries = optional_module("tensorboard.compat.proto.summary_pb2")
    target = folder / run.record.id
    with closing(writing.EventFileWriter(str(target))) as writer:
        for row in metric_rows(run):
            values = [summaries.Summary.Value(tag=name, simple_value=value) for name, value in _metrics(row)]
            summary = summaries.Summary(value=values)
            writer.add_event(protos.Event(wall_time=row["time"], step=row["step"], summary=summary))
    return [target]


def _metrics(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    return ((name, value) for name, value in row.items() if name not in PLACES)


def to_wandb(run: LiveRun, folder: Path) -> list[Path]:
    """A run of the same id and name in $WANDB_PROJECT; with WANDB_MODE=offline it stays in `folder`."""
    wandb = optional_module("wandb")
    logged = wandb.init(
        id=run.record.id,
        name=run.record.name or run.record.id,
        config=run.record.config,
        dir=str(folder),
        resume="allow",
    )
    for row in metric_rows(run):
        logged.log(dict(_metrics(row)), step=row["step"])
    logged.finish()
    return []


def to_trackio(run: LiveRun, folder: Path) -> list[Path]:
    """A run of the same name in the project `rlhf`; what trackio says goes to stderr, and it measures nothing here."""
    trackio = optional_module("trackio")
    measures_nothing = {"auto_log_cpu": False, "auto_log_gpu": False}
    with redirect_stdout(sys.stderr):
        trackio.init(project="rlhf", name=run.record.id, config=run.record.config, **measures_nothing)
        for row in metric_rows(run):
            trackio.log(dict(_metrics(row)), step=row["step"])
        trackio.finish()
    return []


FORMATS: Mapping[str, Callable[[LiveRun, Path], list[Path]]] = {
    "csv": to_csv,
    "parquet": to_parquet,
    "tensorboard": to_tensorboard,
    "wandb": to_wandb,
    "trackio": to_trackio,
}


def export(run: LiveRun, form: str, folder: Path) -> list[Path]:
    """What was written; empty where it went to a service. Raises `UserError` if it can't be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return FORMATS[form](run, folder)
    except OSError as error:
        raise UserError(f"{error.filename or folder} can't be written: {error.strerror}") from error


def export_model(run: RunDir, checkpoint: str, folder: Path) -> Path:
    """`RUN.STEP` below `folder`: the model as `save_pretrained` leaves it, also of a checkpoint in pieces.

    Raises `UserError` where the checkpoint is damaged or has no model, and where it can't be written.
    """
    found = find_checkpoint(run, checkpoint)
    target = folder / f"{run.id}.{found.name}"
    aside = folder / f".{target.name}.{secrets.token_hex(4)}.tmp"
    if not (found / MODEL).is_dir():
        raise UserError(f"run {run.id} trains no model: {found.name} has no {MODEL}/")
    if target.exists():
        raise UserError(f"{target} is there already; move it, or choose another folder with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        copy_model(found, MODEL, aside)
        return aside.rename(target)
    except OSError as error:
        raise UserError(f"{error.filename or folder} can't be written: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
