"""Answers of a process that may import torch: JSON lines, as they come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.trainer import RunFailure, UserError


def answers(module: str, argument: str, request: dict[str, Any], root: Path, what: str) -> Iterator[dict[str, Any]]:
    """What `python -m MODULE ARGUMENT` says to `request`; `root` is where it looks runs up, `what` names it.

    Raises `UserError` with its {"error": {"message"}} where it ends with exit code 2, and `RunFailure` where it breaks.
    """
    command = [sys.executable, "-P", "-m", module, argument]
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "RLHF_RUNS": str(root)}
    with TemporaryFile("w+", errors="replace") as said, TemporaryFile("w+") as asked:
        json.dump(request, asked)
        asked.seek(0)
        process = subprocess.Popen(
            command, stdin=asked, stdout=subprocess.PIPE, stderr=said, text=True, env=environment
        )
        with process:
            try:
                yield from _objects(process)
            except BaseException:
                process.terminate()
                raise
        if process.returncode != ExitCode.DONE:
            raise _failure(f"{what} ended with {process.returncode}: {_last_line(said)}")


def _objects(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        answer = json.loads(line)
        if "error" in answer:
            message = answer["error"]["message"]
            raise UserError(message) if process.wait() == ExitCode.USER_ERROR else _failure(message)
        yield answer


def _failure(message: str) -> RunFailure:
    return RunFailure(message, exit_code=ExitCode.PLUGIN_FAILED)


def _last_line(said: IO[str]) -> str:
    said.seek(0)
    return (said.read().strip().splitlines() or ["nothing on stderr"])[-1]
