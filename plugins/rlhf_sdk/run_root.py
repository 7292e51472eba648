"""The folder that holds runs: where it is, what is in it, and how a run gets its id."""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path

from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

ENVIRONMENT = "RLHF_RUNS"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


def run_root(chosen: Path | str | None = None) -> Path:
    """`chosen`, else $RLHF_RUNS, else ./runs, as an absolute path."""
    return Path(chosen or os.environ.get(ENVIRONMENT) or "runs").expanduser().absolute()


def check_name(name: str) -> str:
    """`name`, if it can be part of a run id. Raises `UserError` if not."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"run name {name!r} can't be used: letters, digits, '.', '_' and '-' are allowed, at most 100, "
            "a letter or digit first"
        )
    return name


def new_run_id(name: str) -> str:
    """`<name>-<yyyymmdd-hhmmss>-<4 hex>`, local time."""
    return f"{check_name(name)}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def list_runs(root: Path) -> list[RunDir]:
    """Every directory below `root` with a run.json, by id; no links, and no names that are no run ids."""
    if not root.is_dir():
        return []
    return [RunDir(root / name) for name in sorted(entry.name for entry in os.scandir(root)) if _is_run(root, name)]


def is_run_id(name: str) -> bool:
    """Whether a directory of this name can be a run: it leads nowhere else and shows as it is."""
    return _ID.fullmatch(name) is not None


def _is_run(root: Path, name: str) -> bool:
    if not is_run_id(name) or (root / name).is_symlink():
        return False
    return (root / name / "run.json").is_file()


def left_out(root: Path) -> list[str]:
    """What looks like a run and is not listed, and why."""
    if not root.is_dir():
        return []
    found = [path for path in sorted(root.iterdir()) if path.name[0] != "." and (path / "run.json").is_file()]
    return [
        f"{path} is a link: give its folder by --runs" if path.is_symlink() else f"{path}: not a run id"
        for path in found
        if not _is_run(root, path.name)
    ]


def find_run(root: Path, text: str) -> RunDir:
    """The run whose id is `text`, or the only one whose id starts with it.

    Raises `UserError` naming the nearest id, or the several that match.
    """
    if _is_run(root, text):
        return RunDir(root / text)
    runs = {run.id: run for run in list_runs(root)}
    matches = [run_id for run_id in runs if text and run_id.startswith(text)]
    stems = [run_id for run_id in matches if "." not in run_id.removeprefix(text)]
    if len(matches) == 1 or len(stems) == 1:
        return runs[(stems or matches)[0]]
    if matches:
        raise UserError(f"several runs start with {text!r}: {', '.join(matches[:5])}")
    raise UserError(f"no run {text!r} in {root}.{nearest(text, runs)}")
