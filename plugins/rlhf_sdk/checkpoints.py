"""Checkpoints: made aside, hashed, fsynced, renamed; a damaged one is named and never used."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk.bounds import is_within, read_record
from rlhf_sdk.files import PRIVATE_FILE, make_private_directory, sync_directory
from rlhf_sdk.foreign import check_tree
from rlhf_sdk.trainer import UserError

SCHEMA = 1
MANIFEST = "MANIFEST.json"
STATE_FILE = "worker.json"
SMALL_BYTES = 64 << 10
_ASIDE = ".tmp-"
_REPLACED = ".old-"
_REMOVED = ".gone-"
_NAME = re.compile(r"step-(\d{8,})")


class FileEntry(msgspec.Struct, frozen=True):
    """Size in bytes and SHA-256 (hex) of one file."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """Every file of a checkpoint by its path within it."""

    files: dict[str, FileEntry]


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """`worker.json`: what the worker itself must remember; `seq` is that of the last event before the checkpoint.

    `finished` says that nothing is left to do after it; `live_values` has the dotted keys that were set until then;
    `metrics` are those of its last step (None: not finite); `environment` has device, versions and thread count.
    """

    schema: int = SCHEMA
    step: int
    seq: int
    sample_seq: int
    attempt: int
    finished: bool = False
    live_values: dict[str, Any] = {}
    metrics: Mapping[str, float | None] = {}
    environment: dict[str, str] = {}


class _Versioned(msgspec.Struct):
    schema: int = SCHEMA


def checkpoint_name(step: int) -> str:
    return f"step-{step:08d}"


def checkpoint_step(name: str) -> int:
    """The number of finished steps in a checkpoint's name. Raises `ValueError` if it is no such name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not the name of a checkpoint (step-00000120)")
    return int(match[1])


def list_checkpoints(directory: Path) -> list[Path]:
    """Finished checkpoints, good or not, oldest first."""
    if not directory.is_dir():
        return []
    named = [path for path in directory.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(named, key=lambda path: checkpoint_step(path.name))


Entries = Mapping[str, FileEntry]


def seal(folder: Path, sealed: Entries | None = None) -> None:
    """Hashes and fsyncs every file that isn't `sealed` already, then writes the manifest."""
    entries = dict(sealed or {})
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name not in entries:
            entries[name] = seal_file(path)
    manifest = folder / MANIFEST
    manifest.write_bytes(msgspec.json.format(msgspec.json.encode(Manifest(entries)), indent=1))
    manifest.chmod(PRIVATE_FILE)
    _sha256(manifest, sync=True)
    for parent in {path.parent for path in _files(folder)}:
        sync_directory(parent)


def write_checkpoint(
    directory: Path,
    step: int,
    fill: Callable[[Path], object],
    *,
    seal: Callable[[Path], None] = seal,
    writer: str = "",
) -> Path:
    """A new checkpoint below `directory` with what `fill` writes into the folder that it is given.

    It appears under its name only when complete; one of the same step is replaced. `writer` is part of the folder's
    name until then. Raises what `fill` and `seal` raise.
    """
    make_private_directory(directory)
    final, aside = directory / checkpoint_name(step), directory / f"{_ASIDE}{checkpoint_name(step)}{writer}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        make_private_directory(aside)
        fill(aside)
        seal(aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _put_in_place(aside, final)
    return final


def seal_file(path: Path) -> FileEntry:
    """Makes a file private, and sure to survive a loss of power."""
    path.chmod(PRIVATE_FILE)
    return FileEntry(path.stat().st_size, _sha256(path, sync=True))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _sha256(path: Path, *, sync: bool = False) -> str:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if sync:
            os.fsync(stream.fileno())
    return digest


def _put_in_place(aside: Path, final: Path) -> None:
    replaced = final.with_name(_REPLACED + final.name)
    if final.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    aside.rename(final)
    sync_directory(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def clean_leftovers(directory: Path) -> None:
    """Removes what an interrupted write left, and puts back what it was about to replace; for the worker alone."""
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        original = directory / path.name.removeprefix(_REPLACED)
        if path.name.startswith(_REPLACED) and not original.exists():
            path.rename(original)
        elif path.name.startswith((_ASIDE, _REPLACED, _REMOVED)):
            shutil.rmtree(path)


def remove_checkpoint(checkpoint: Path) -> None:
    """It is gone at once or not at all: what an interrupted removal leaves is no checkpoint any more."""
    removed = checkpoint.with_name(_REMOVED + checkpoint.name)
    shutil.rmtree(removed, ignore_errors=True)
    checkpoint.rename(removed)
    shutil.rmtree(removed)


def damage(checkpoint: Path, *, contents: bool = True) -> str | None:
    """What is wrong with a checkpoint, in words; None if it is good.

    Compares sizes and hashes, which reads every byte; without `contents` the hashes of small files alone.
    """
    try:
        check_tree(checkpoint)
        manifest = msgspec.json.decode(read_record(checkpoint / MANIFEST), type=Manifest)
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (UserError, OSError) as error:
        return str(error)
    except (ValueError, RecursionError) as error:
        return f"{MANIFEST} is damaged: {error}"
    for name, entry in manifest.files.items():
        path = checkpoint / name
        if not is_within(name):
            return f"{MANIFEST} is damaged: {name!r} lies elsewhere"
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry.size:
            return f"{name} has {path.stat().st_size} bytes instead of {entry.size}"
        if (contents or entry.size <= SMALL_BYTES) and _sha256(path) != entry.sha256:
            return f"{name} has other contents than were written"
    strangers = {path.relative_to(checkpoint).as_posix() for path in _files(checkpoint)} - {MANIFEST, *manifest.files}
    return f"{min(strangers)} is no part of it" if strangers else None


def read_state(checkpoint: Path) -> WorkerState:
    """`worker.json` of a checkpoint that is good. Raises `UserError` on a schema newer than this version reads."""
    data = (checkpoint / STATE_FILE).read_bytes()
    schema = msgspec.json.decode(data, type=_Versioned).schema
    if schema > SCHEMA:
        raise UserError(f"{checkpoint} has schema {schema}; this version reads up to {SCHEMA}: upgrade rlhf-console")
    return msgspec.json.decode(data, type=WorkerState)


def latest_good(directory: Path, *, contents: bool = True) -> tuple[Path | None, dict[str, str]]:
    """The newest checkpoint that is good (None: there is none), and what is wrong with each newer one, by name."""
    problems: dict[str, str] = {}
    for checkpoint in reversed(list_checkpoints(directory)):
        problem = damage(checkpoint, contents=contents)
        if problem is None:
            return checkpoint, problems
        problems[checkpoint.name] = problem
    return None, problems
