"""Tokenised examples on disk, as Arrow: built once for the same data, tokenizer, settings and code."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from transformers import PreTrainedTokenizerBase

from rlhf_engine.config import DataConfig
from rlhf_engine.data.report import DataReport
from rlhf_engine.data.sources import fingerprint
from rlhf_engine.errors import DataError

TABLE, REPORT = "examples.arrow", "report.json"
UNRELATED_KEYS = ("max_bad_share",)


def default_cache() -> Path:
    """$XDG_CACHE_HOME/rlhf/data, or the same below ~/.cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rlhf" / "data"


@lru_cache(maxsize=1)
def code_version() -> str:
    """A hash of this package's sources: other code may make other examples of the same data."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """A hash of everything that decides how words become tokens."""
    backend: Any = tokenizer
    described = f"{backend.backend_tokenizer.to_str()} {tokenizer.eos_token_id} {tokenizer.pad_token_id}"
    return hashlib.sha256(described.encode()).hexdigest()


def cache_key(kind: str, config: DataConfig, tokenizer: PreTrainedTokenizerBase, **details: Any) -> str:
    """Differs whenever the examples could."""
    settings = msgspec.to_builtins(config)
    for key in UNRELATED_KEYS:
        del settings[key]
    parts = {
        "kind": kind,
        "data": fingerprint(config),
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "settings": settings,
        "details": details,
        "code": code_version(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def cached(folder: Path, build: Callable[[Path], DataReport]) -> tuple[Path, DataReport]:
    """The Arrow file in `folder` and its report; `build` writes it into a folder aside if it isn't there.

    Two processes at once: one builds, the other waits. Raises DataError if there is no space.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder.with_suffix(".lock")):
            if not (folder / REPORT).exists():
                _build_aside(folder, build)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES):
            raise DataError(f"data cache {folder.parent}: {error.strerror}; free space or set XDG_CACHE_HOME") from None
        raise
    return folder / TABLE, DataReport.from_plain(json.loads((folder / REPORT).read_text()))


def _build_aside(folder: Path, build: Callable[[Path], DataReport]) -> None:
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        report = build(aside / TABLE)
        (aside / REPORT).write_text(json.dumps(report.to_plain()))
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _lock(file: Path) -> Iterator[None]:
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
