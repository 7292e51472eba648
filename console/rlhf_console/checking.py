"""A plugin's own check of a config, asked of a process that may import torch; rows come as they are found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import msgspec

from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.spec import CheckRow
from rlhf_sdk.trainer import RunFailure, UserError


def check_rows(plugin: str, request: dict[str, Any], root: Path) -> Iterator[CheckRow]:
    """What the plugin finds of {"config", "stages"}; `root` is where runs are looked up.

    Raises `UserError` where it has no check or refuses the config, and `RunFailure` where its check breaks.
    """
    command = [sys.executable, "-P", "-m", "rlhf_sdk.checking", plugin]
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "RLHF_RUNS": str(root)}
    with TemporaryFile("w+", errors="replace") as said, TemporaryFile("w+") as asked:
        json.dump(request, asked)
        asked.seek(0)
        process = subprocess.Popen(
            command, stdin=asked, stdout=subprocess.PIPE, stderr=said, text=True, env=environment
        )
        with process:
            try:
                yield from _rows(process)
            except BaseException:
                process.terminate()
                raise
        if process.returncode != ExitCode.DONE:
            raise _failure(f"the check of plugin {plugin!r} ended with {process.returncode}: {_last_line(said)}")


def _rows(process: subprocess.Popen[str]) -> Iterator[CheckRow]:
    assert process.stdout is not None
    for line in process.stdout:
        answer = json.loads(line)
        if "error" in answer:
            message = answer["error"]["message"]
            raise UserError(message) if process.wait() == ExitCode.USER_ERROR else _failure(message)
        yield msgspec.convert(answer["row"], CheckRow, strict=False)


def _failure(message: str) -> RunFailure:
    return RunFailure(message, exit_code=ExitCode.PLUGIN_FAILED)


def _last_line(said: IO[str]) -> str:
    said.seek(0)
    return (said.read().strip().splitlines() or ["nothing on stderr"])[-1]
