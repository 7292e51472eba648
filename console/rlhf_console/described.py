"""What plugins declared, kept between calls for as long as no file changes that they were read from."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

CACHE_FORMAT = 4
"""Another one whenever `describe` says more than it did."""
SOURCES = "sources"


def stored(point: EntryPoint) -> dict[str, Any] | None:
    """What was kept; None if nothing was, it is damaged, or a file that it came from has changed."""
    try:
        kept = json.loads(_file(point).read_text())
        unchanged = all(_stamp(path) == stamp for path, stamp in kept[SOURCES].items())
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return kept if unchanged else None


def store(point: EntryPoint, described: dict[str, Any]) -> None:
    """Keeps it, unless that can't be written."""
    file = _file(point)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_suffix(f".{os.getpid()}.tmp")
        aside.write_text(json.dumps(described))
        aside.rename(file)
    except OSError:
        return


def _file(point: EntryPoint) -> Path:
    """Named by all that decides which files are read: Python, its path, the distribution, and what it points to."""
    origin = (point.dist.name, point.dist.version) if point.dist else ("", "")
    where = (sys.version, sys.prefix, os.environ.get("PYTHONPATH", ""))
    key = json.dumps([CACHE_FORMAT, *where, *origin, point.value])
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(key.encode()).hexdigest()
    return base / "rlhf" / "describe" / f"{point.name}-{digest[:24]}.json"


def _stamp(path: str) -> list[int]:
    status = Path(path).stat()
    return [status.st_size, status.st_mtime_ns]
