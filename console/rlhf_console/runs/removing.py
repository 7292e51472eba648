"""Runs put away and fetched back, or deleted for good: never one that is at work, never outside the run folder."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from rlhf_sdk.files import make_private_directory
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.states import LIVE, State
from rlhf_sdk.trainer import UserError

ARCHIVE = ".archive"


def archive(run: RunDir) -> None:
    """Moves a run and its stages into the folder `.archive` beside them. Raises `UserError` while one is at work."""
    folder = run.root / ARCHIVE
    make_private_directory(folder)
    _move(_with_stages(run), folder)


def restore(run: RunDir) -> None:
    """Moves an archived run and its stages back. Raises `UserError` where one of the same id has come meanwhile."""
    _move(_with_stages(run), run.root.parent)


def delete(run: RunDir) -> None:
    """Removes a run and its stages. Raises `UserError` while one is at work."""
    aside = run.root / f".deleted-{secrets.token_hex(4)}"
    make_private_directory(aside)
    _move(_with_stages(run), aside)
    shutil.rmtree(aside)


def _with_stages(run: RunDir) -> list[RunDir]:
    return [run, *(other for other in list_runs(run.root) if other.id.startswith(f"{run.id}."))]


def _move(runs: list[RunDir], folder: Path) -> None:
    for run in runs:
        state = run.state()
        if state in LIVE or state in (State.STALLED, State.QUEUED):
            raise UserError(f"run {run.id} is {state}: stop it first")
        if run.path.is_symlink():
            raise UserError(f"run {run.id} is a link: remove it by hand")
        if (folder / run.id).exists():
            raise UserError(f"{folder} has a run {run.id} already")
    for run in runs:
        try:
            run.path.rename(folder / run.id)
        except OSError as error:
            raise UserError(f"run {run.id} can't be moved to {folder}: {error.strerror}") from error
