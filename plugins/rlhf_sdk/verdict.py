"""How an attempt ended: state, exit code and one clear line."""

from __future__ import annotations

import errno
import traceback

import msgspec

from rlhf_sdk.events import Check
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.states import State
from rlhf_sdk.trainer import DivergedError, RunFailure, Runtime, UserError

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM}
_DISK_WORDS = ("No space left on device", "os error 28", "Disk quota exceeded")


class Aborted(BaseException):
    """A second interrupt: end at once, without a checkpoint."""


class Verdict(msgspec.Struct, frozen=True):
    """`code` is a stable name for alerts; empty where nothing is wrong."""

    state: State
    exit_code: int
    reason: str
    code: str = ""
    advice: str = ""


def failed_check_in_words(check: Check) -> str:
    """Why a strict run ends: the light, its figure, and what to look at."""
    return f"check {check.name} failed: {check.figure:.6g} against {check.tolerance:g}: {check.explanation}"


def is_disk_problem(error: BaseException) -> bool:
    """Whether the disk is full, over quota, read-only or not ours; a library that wraps the system's error is told by
    its words."""
    if isinstance(error, OSError) and error.errno in _DISK:
        return True
    return any(words in str(error) for words in _DISK_WORDS)


def is_out_of_memory(error: BaseException, runtime: Runtime | None) -> bool:
    return isinstance(error, MemoryError) or (runtime is not None and runtime.is_out_of_memory(error))


def verdict_of(error: BaseException, runtime: Runtime | None, phase: str) -> Verdict:
    """What an error that reached the worker means; `phase` is where it happened, if known."""
    where = f" in {phase}" if phase else ""
    if isinstance(error, Aborted):
        return Verdict(State.STOPPED, 130, "interrupted twice: ended at once, without a checkpoint")
    if isinstance(error, UserError):
        return Verdict(State.FAILED, ExitCode.USER_ERROR, str(error), "user_error")
    if isinstance(error, DivergedError):
        return Verdict(State.FAILED, ExitCode.DIVERGED, str(error), "diverged", "the last good checkpoint is kept")
    if isinstance(error, RunFailure):
        return Verdict(State.FAILED, error.exit_code, str(error), "run_failed")
    if is_out_of_memory(error, runtime):
        reason = f"out of memory{where}: {_one_line(error)}"
        return Verdict(State.OOM, ExitCode.OUT_OF_MEMORY, reason, "out_of_memory", "lower the micro-batch size")
    if is_disk_problem(error):
        reason = f"the file system refused{where}: {_one_line(error)}"
        return Verdict(
            State.FAILED, ExitCode.USER_ERROR, reason, "disk", "free space or give permission, then resume the run"
        )
    reason = f"the plugin failed{where}: {_one_line(error)}{_place(error)}"
    return Verdict(State.FAILED, ExitCode.PLUGIN_FAILED, reason, "plugin_failed", "the traceback is in output.log")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
