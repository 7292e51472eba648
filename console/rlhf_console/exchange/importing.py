"""Logs of other trainers as runs: TRL's completions, verl's rollouts, TensorBoard's scalars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from rlhf_console.exchange.optional import optional_module
from rlhf_sdk.events import MetricsLogged, Sample
from rlhf_sdk.imported import write_imported
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

TRL_TEXTS = ("step", "prompt", "completion")
VERL_TEXTS = ("step", "input", "output", "gts")


@dataclass
class Log:
    """What was found: scalars by step with Unix times (0 where unknown), and samples."""

    scalars: dict[int, dict[str, float]] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def add_samples(self, rows: Iterable[tuple[int, str, str, str | None, Mapping[str, float]]]) -> None:
        """Rows of (step, prompt, response, reference, figures); each figure's mean over a step becomes a metric."""
        by_step: dict[int, list[Mapping[str, float]]] = {}
        for step, prompt, response, reference, figures in rows:
            group = by_step.setdefault(step, [])
            self.samples.append(
                Sample(
                    step=step, tag="rollout", index=len(group), prompt=prompt, response=response, reference=reference,
                    metrics=dict(figures),
                )
            )  # fmt: skip
            group.append(figures)
        for step, found in by_step.items():
            names = dict.fromkeys(name for figures in found for name in figures)
            means = {f"{name}_mean": fmean(figures[name] for figures in found if name in figures) for name in names}
            self.scalars.setdefault(step, {}).update(means)


def read_trl(files: Sequence[Path]) -> Log:
    """The Parquet files of `log_completions`: step, prompt, completion, a column for each reward, advantage."""
    parquet, log = optional_module("pyarrow.parquet"), Log()
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            table = parquet.read_table(file)
        except (OSError, ValueError) as error:
            raise UserError(f"{file} is not a Parquet file: {error}") from error
        _need(file, table.column_names, TRL_TEXTS)
        rows += table.to_pylist()
    rows.sort(key=lambda row: int(row["step"]))
    log.add_samples(
        (int(row["step"]), _text(row["prompt"]), _text(row["completion"]), None, _figures(row, TRL_TEXTS))
        for row in rows
    )
    return log


def read_verl(files: Sequence[Path]) -> Log:
    """The JSON lines of `trainer.rollout_data_dir`: input, output, score, step, perhaps gts and more figures."""
    log = Log()
    rows = [row for file in files for row in _json_lines(file)]
    rows.sort(key=lambda row: int(row["step"]))
    log.add_samples(
        (int(row["step"]), _text(row["input"]), _text(row["output"]), _reference(row), _figures(row, VERL_TEXTS))
        for row in rows
    )
    return log


def _json_lines(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_lines(file), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{file}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise UserError(f"{file}, line {number}: {line[:40]!r}; an object with input, output, step is needed")
        _need(file, list(row), VERL_TEXTS[:3])
        yield row


def _lines(file: Path) -> list[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} can't be read: {error}") from error


def read_tensorboard(files: Sequence[Path]) -> Log:
    """Every scalar of event files, or of folders that hold some."""
    loading, log = optional_module("tensorboard.backend.event_processing.event_accumulator"), Log()
    for file in files:
        accumulator = loading.EventAccumulator(str(file), size_guidance={loading.TENSORS: 0, loading.SCALARS: 0})
        accumulator.Reload()
        tags = accumulator.Tags()
        for tag in tags["scalars"]:
            for event in accumulator.Scalars(tag):
                log.scalars.setdefault(event.step, {})[tag] = event.value
                log.times[event.step] = event.wall_time
    if not log.scalars:
        raise UserError(
            f"{', '.join(map(str, files))}: no scalar found; event files are called events.out.tfevents...."
        )
    return log


FORMATS: Mapping[str, Callable[[Sequence[Path]], Log]] = {
    "trl": read_trl,
    "verl": read_verl,
    "tensorboard": read_tensorboard,
}
SUFFIXES = {"trl": "*.parquet", "verl": "*.jsonl"}


def import_log(root: Path, paths: Sequence[Path], form: str, name: str) -> RunDir:
    """A finished run with what `paths` hold: files, or folders of them. Raises `UserError` naming file and row."""
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
    log = FORMATS[form](_files(paths, SUFFIXES.get(form)))
    steps = sorted(log.scalars)
    events = [
        MetricsLogged(values=log.scalars[step], seconds=0.0, step=step, time=log.times.get(step, 0.0)) for step in steps
    ]
    source = {"format": form, "files": [str(path) for path in paths]}
    return write_imported(
        root, name=name or form, source=source, events=events, samples=log.samples, steps=steps[-1] if steps else 0
    )


def _files(paths: Sequence[Path], pattern: str | None) -> list[Path]:
    if pattern is None:
        return list(paths)
    files = [file for path in paths for file in (sorted(path.glob(pattern)) if path.is_dir() else [path])]
    if not files:
        raise UserError(f"{', '.join(map(str, paths))}: no {pattern} in it")
    return files


def _need(file: Path, there: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in there]
    if missing:
        raise UserError(f"{file}: no {', '.join(missing)}; there is {', '.join(there)}")


def _figures(row: Mapping[str, Any], texts: Sequence[str]) -> dict[str, float]:
    numbers = {name: value for name, value in row.items() if name not in texts and isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items()}


def _reference(row: Mapping[str, Any]) -> str | None:
    return None if row.get("gts") is None else _text(row["gts"])


def _text(value: Any) -> str:
    """Text as it is; of a chat its messages, one below the other."""
    if isinstance(value, list) and all(isinstance(turn, dict) and "content" in turn for turn in value):
        return "\n\n".join(f"{turn.get('role', '')}: {turn['content']}" for turn in value)
    return str(value)
