"""What a trained model says of texts, in a process of its own: `python -m rlhf_sdk.scoring RUN[@STEP]`.

Reads {"texts": [[prompt, response], ...]} (JSON) from stdin, and prints {"scores": [of each head]} on a line of its own
for each text, in order. What is wrong comes as {"error": {"message"}} with exit code 2, or 3 if the plugin is broken.
The run is looked up in $RLHF_RUNS.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import BinaryIO

import msgspec

from rlhf_sdk.config_errors import convert_config
from rlhf_sdk.discovery import load_attribute, load_spec
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import PRIVATE_UMASK
from rlhf_sdk.references import RUN_PREFIX, pin_reference, resolve
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import run_root
from rlhf_sdk.spec import ScoreRequest
from rlhf_sdk.trainer import UserError


class Asked(msgspec.Struct, frozen=True):
    """What comes by stdin."""

    texts: list[tuple[str, str]]


def scores(root: Path, run: str, texts: list[tuple[str, str]]) -> Iterator[list[float]]:
    """By the model in the run's newest good checkpoint, or the one named after an @.

    Raises `UserError` where there is none, or the run's plugin scores nothing.
    """
    reference = pin_reference(root, f"{RUN_PREFIX}{run}", "run")
    record = RunDir(root / reference.removeprefix(RUN_PREFIX).partition("@")[0]).record()
    spec = load_spec(record.plugin)
    if not spec.score:
        raise UserError(f"run {record.id} is of plugin {record.plugin!r}, which scores nothing; name a reward model's")
    model = resolve(root, {"model": reference})["model"]
    yield from load_attribute(spec.score)(ScoreRequest(model, convert_config(record.config, spec.config), texts))


def answer(root: Path, run: str, asked: Asked, output: BinaryIO) -> int:
    """Writes the scores, or the error that ended them; returns the exit code."""
    try:
        for found in scores(root, run, asked.texts):
            _write(output, {"scores": found})
    except UserError as error:
        _write(output, {"error": {"message": str(error)}})
        return ExitCode.USER_ERROR
    except Exception as error:
        traceback.print_exc()
        cause = f"{type(error).__name__}: {' '.join(str(error).split())}"
        _write(output, {"error": {"message": f"scoring by run {run} failed: {cause}"}})
        return ExitCode.PLUGIN_FAILED
    return ExitCode.DONE


def _write(output: BinaryIO, line: dict[str, object]) -> None:
    output.write(msgspec.json.encode(line) + b"\n")
    output.flush()


def main() -> None:
    os.umask(PRIVATE_UMASK)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    output = sys.stdout.buffer
    with redirect_stdout(sys.stderr):  # what a plugin prints is no part of the answer
        code = answer(run_root(), sys.argv[1], asked, output)
    sys.exit(code)


if __name__ == "__main__":
    main()
