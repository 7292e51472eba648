"""A plugin's own check of a config, before any run, in a process of its own: `python -m rlhf_sdk.checking NAME`.

Reads {"config", "stages"} (JSON) from stdin, and prints {"row": {...}} on a line of its own for each finding, at once.
What is wrong comes as {"error": {"key", "message"}} with exit code 2, or 3 if the plugin is broken. References to runs
are looked up in $RLHF_RUNS.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any, BinaryIO

import msgspec

from rlhf_sdk.config_errors import ConfigError, convert_config
from rlhf_sdk.discovery import load_attribute, load_spec
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import PRIVATE_UMASK
from rlhf_sdk.non_finite import spell_non_finite
from rlhf_sdk.references import resolve
from rlhf_sdk.run_root import run_root
from rlhf_sdk.spec import CheckRequest, CheckRow
from rlhf_sdk.trainer import UserError


def check_rows(name: str, config: dict[str, Any], stages: dict[str, Any]) -> Iterator[CheckRow]:
    """The rows of the plugin `name`. Raises `UserError` where it has no check, or the config does not suit it."""
    spec = load_spec(name)
    if not spec.check:
        raise UserError(f"plugin {name!r} has no check of its own; `rlhf run {name} --dry-run` shows what it would do")
    complete = convert_config(resolve(run_root(), config), spec.config)
    rows: Iterator[CheckRow] = load_attribute(spec.check)(CheckRequest(name, complete, stages))
    yield from rows


def answer(name: str, asked: dict[str, Any], output: BinaryIO) -> int:
    """Writes the rows, or the error that ended them; returns the exit code."""
    try:
        for row in check_rows(name, asked["config"], asked["stages"]):
            _write(output, {"row": msgspec.to_builtins(row)})
    except UserError as error:
        key = error.key if isinstance(error, ConfigError) else ""
        _write(output, {"error": {"key": key, "message": str(error)}})
        return ExitCode.USER_ERROR
    except Exception as error:
        traceback.print_exc()
        cause = " ".join(str(error).split())
        message = f"the check of plugin {name!r} failed: {type(error).__name__}: {cause}"
        _write(output, {"error": {"key": "", "message": message}})
        return ExitCode.PLUGIN_FAILED
    return ExitCode.DONE


def _write(output: BinaryIO, line: dict[str, Any]) -> None:
    output.write(msgspec.json.encode(spell_non_finite(line)) + b"\n")
    output.flush()


def main() -> None:
    os.umask(PRIVATE_UMASK)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, Any])
    output = sys.stdout.buffer
    with redirect_stdout(sys.stderr):  # what a plugin prints is no part of the answer
        code = answer(sys.argv[1], asked, output)
    sys.exit(code)


if __name__ == "__main__":
    main()
