"""A run that goes on from another run's checkpoint: a copy of it, in which nothing is counted yet."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from rlhf_sdk.checkpoints import (
    MANIFEST,
    STATE_FILE,
    WorkerState,
    checkpoint_step,
    damage,
    list_checkpoints,
    read_state,
    write_checkpoint,
)
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

FORK = "fork"
"""The role, in `parents`, of the run that another one was forked from."""


def find_checkpoint(run: RunDir, name: str = "", *, contents: bool = True) -> Path:
    """The checkpoint called `name`, else the newest. Raises `UserError` if there is none such, or it is damaged.

    Reads every byte; without `contents` only small files.
    """
    names = [path.name for path in list_checkpoints(run.checkpoints)]
    if not names:
        raise UserError(f"run {run.id} has no checkpoint")
    if name and name not in names:
        raise UserError(f"run {run.id} has no checkpoint {name!r}; there is {', '.join(names)}.{nearest(name, names)}")
    found = run.checkpoints / (name or names[-1])
    if problem := damage(found, contents=contents):
        raise UserError(f"{found} is damaged: {problem}")
    return found


def state_to_fork(checkpoint: Path) -> WorkerState:
    """What the worker remembered there. Raises `UserError` where nothing is left to do after it."""
    state = read_state(checkpoint)
    if state.finished:
        raise UserError(
            f"{checkpoint.name} of {checkpoint.parent.parent.name} is the end of that run: there is nothing to go on "
            "with; an earlier checkpoint can be forked, and its model can be the beginning of a new run"
        )
    return state


def copy_to_fork(checkpoint: Path, run: RunDir) -> Path:
    """The checkpoint as the first one of `run`, which has written no events yet; values set live are in its config.

    Raises `UserError` where it can't be written.
    """
    fresh = msgspec.structs.replace(state_to_fork(checkpoint), seq=0, sample_seq=0, attempt=0, live_values={})

    def fill(folder: Path) -> None:
        leave_out = shutil.ignore_patterns(MANIFEST, STATE_FILE)
        shutil.copytree(checkpoint, folder, ignore=leave_out, dirs_exist_ok=True)
        (folder / STATE_FILE).write_bytes(msgspec.json.encode(fresh))

    try:
        return write_checkpoint(run.checkpoints, checkpoint_step(checkpoint.name), fill)
    except OSError as error:
        raise UserError(f"{run.checkpoints} can't be written: {error.strerror}") from error
