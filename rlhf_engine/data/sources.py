"""Rows from the built-in world, local files, or a hub, each with the file and row number that it came from."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf_engine.config import DataConfig
from rlhf_engine.data.world import demonstrations
from rlhf_engine.errors import DataError, hub_advice, nearest

WORLD = "world"
NAMED = (WORLD, "preferences")
"""Sources that are no file and on no hub; votes are a file by the time that they come here."""

FORMATS = (".jsonl", ".jsonl.gz", ".json", ".parquet", ".csv", ".arrow")
BLOCK = 1 << 20


@dataclass(frozen=True)
class Row:
    """A record, or None with the `problem` where the row could not be read."""

    file: str
    number: int
    record: dict[str, Any] | None
    problem: str = ""
    text: str = ""


def read_rows(config: DataConfig) -> Iterator[Row]:
    """All rows of all sources, in order; a hub or file is opened when its turn comes.

    Raises DataError for a source that is missing, empty, unreachable or of an unknown format.
    """
    if not config.source:
        raise DataError("data.source: empty; give world, a file, or a hub id such as org/name")
    for source in config.source:
        count = 0
        for row in _rows_of(source, config):
            count += 1
            yield row
        if not count:
            raise DataError(f"data.source: {source!r} is empty")


def _rows_of(source: str, config: DataConfig) -> Iterator[Row]:
    if source == WORLD:
        if not config.max_rows:
            raise DataError("data.max_rows: the built-in world is endless; say how many posts, such as 1000")
        return (Row(WORLD, i, row) for i, row in enumerate(demonstrations(config.max_rows, seed=config.world_seed), 1))
    if is_local(source):
        return (row for file in local_files(source) for row in _file_rows(file))
    return _hub_rows(source, config.split)


def is_local(source: str) -> bool:
    """Whether a source is meant as a file or folder rather than a hub id."""
    return Path(source).exists() or source.endswith(FORMATS) or source.startswith((".", "/", "~")) or "*" in source


def local_files(source: str) -> list[Path]:
    """The file, the folder's files of a known format, or those that match the pattern. Raises DataError if none."""
    path = Path(source).expanduser()
    if path.is_file():
        if not path.name.endswith(FORMATS):
            raise DataError(f"data.source: {source!r}: unknown format; allowed: {', '.join(FORMATS)}")
        return [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.endswith(FORMATS))
    else:
        files = sorted(path.parent.glob(path.name)) if "*" in path.name and path.parent.is_dir() else []
    if not files:
        there = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"data.source: no such file {source!r}.{nearest(path.name, there)}")
    return files


def _file_rows(file: Path) -> Iterator[Row]:
    if file.name.endswith((".jsonl", ".jsonl.gz")):
        return _json_lines(file)
    if file.suffix == ".json":
        return _json_list(file)
    return _arrow_rows(file)


def _json_lines(file: Path) -> Iterator[Row]:
    with gzip.open(file, "rt", errors="replace") if file.suffix == ".gz" else file.open(errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield _json_row(str(file), number, line)


def _json_row(file: str, number: int, line: str) -> Row:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return Row(file, number, None, "not JSON", line)
    return Row(file, number, record) if isinstance(record, dict) else Row(file, number, None, "not an object", line)


def _json_list(file: Path) -> Iterator[Row]:
    try:
        records = json.loads(file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not JSON: {error}") from None
    if not isinstance(records, list):
        raise DataError(
            f"{file}: expected a list of objects, found {type(records).__name__}; one object a line is .jsonl"
        )
    for number, record in enumerate(records, 1):
        yield Row(str(file), number, record if isinstance(record, dict) else None, "not an object", str(record))


def _arrow_rows(file: Path) -> Iterator[Row]:
    import datasets

    datasets.disable_progress_bars()
    try:
        if file.suffix == ".arrow":
            table = datasets.Dataset.from_file(str(file))
        else:
            kind = file.suffix.removeprefix(".")
            table = datasets.load_dataset(kind, data_files=str(file), split="train", streaming=True)
        for number, record in enumerate(table, 1):
            yield Row(str(file), number, dict(record))
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{file}: can't be read as {file.suffix}: {str(error).splitlines()[0]}") from None


def _hub_rows(source: str, split: str) -> Iterator[Row]:
    name, _, subset = source.partition(":")
    for number, record in enumerate(load_hub(name, subset, split), 1):
        yield Row(source, number, dict(record))


def load_hub(name: str, subset: str, split: str) -> Any:
    """The Arrow-backed data set `name` of the hub. Raises DataError saying what to do where it can't be had."""
    import datasets

    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(name, subset or None, split=split)
    except Exception as error:
        meant = nearest(name, NAMED)
        advice = _hub_advice(name, split, error)
        raise DataError(f"data.source: {name!r}: {advice}{meant and f'.{meant}'}") from None


def _hub_advice(name: str, split: str, error: Exception) -> str:
    said = f"{type(error).__name__}: {error}"
    if "Unknown split" in said or "Bad split" in said:
        return f"no split {split!r}: {str(error).splitlines()[0]}"
    if "BuilderConfig" in said or "Config name is missing" in said:
        return f"name one of its configs as {name}:CONFIG: {str(error).splitlines()[0]}"
    return hub_advice(name, error, kind="dataset")


def fingerprint(config: DataConfig) -> str:
    """A hash of what the sources hold: file contents, the hub's own fingerprint, or the world's seed and size."""
    digest = hashlib.sha256()
    for source in [*config.source, *config.exclude]:
        digest.update(source.encode())
        if source == WORLD:
            digest.update(f"{config.world_seed} {config.max_rows}".encode())
        elif is_local(source):
            for file in local_files(source):
                with file.open("rb") as stream:
                    while block := stream.read(BLOCK):
                        digest.update(block)
        else:
            name, _, subset = source.partition(":")
            digest.update(str(load_hub(name, subset, config.split)._fingerprint).encode())
    return digest.hexdigest()
