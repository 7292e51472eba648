"""`crash.json`: what a person needs to know of an attempt that failed, in one file that can be sent to somebody."""

from __future__ import annotations

import sys
import time
import traceback
from typing import Any, Protocol

import msgspec

from rlhf_sdk.checkpoints import list_checkpoints
from rlhf_sdk.events import decode_sample
from rlhf_sdk.files import write_atomically
from rlhf_sdk.non_finite import spell_non_finite
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.scrubbing import scrub
from rlhf_sdk.states import State
from rlhf_sdk.tail import decoded, last_lines
from rlhf_sdk.trainer import UserError

EVENTS, SAMPLES, MOMENTS = 50, 5, 60
FILE = "crash.json"


class Ending(Protocol):
    """How an attempt ended: a `Verdict` or an `ExitRecord`."""

    @property
    def state(self) -> State: ...
    @property
    def exit_code(self) -> int: ...
    @property
    def reason(self) -> str: ...


def write_crash(
    run: RunDir, ending: Ending, *, attempt: int, phase: str = "", error: BaseException | None = None
) -> None:
    """Replaces `crash.json`, without keys and passwords; where it can't be written there is none."""
    said = {
        "run": run.id,
        "state": ending.state,
        "exit_code": ending.exit_code,
        "reason": ending.reason,
        "attempt": attempt,
        "time": time.time(),
        "phase": phase,
        "exception": _exception(error) if error is not None else None,
    }
    try:
        data = msgspec.json.encode(scrub(spell_non_finite(said | _surroundings(run))))
        write_atomically(run.path / FILE, data)
    except (OSError, MemoryError, UserError) as failed:
        print(f"{FILE} could not be written: {failed}", file=sys.stderr)


def _surroundings(run: RunDir) -> dict[str, Any]:
    """What the run's files say of its last moments, and how to go on."""
    record, checkpoints = run.record(), list_checkpoints(run.checkpoints)
    newest = checkpoints[-1].name if checkpoints else None
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    return {
        "plugin": record.plugin,
        "versions": record.versions,
        "git": msgspec.to_builtins(record.git),
        "config": record.config,
        "checkpoint": newest,
        "resume": f"rlhf resume {run.id}" + ("" if newest else "   # from the beginning: there is no checkpoint yet"),
        "events": list(decoded(last_lines(run.events_file, EVENTS), decode)),
        "samples": [
            msgspec.to_builtins(sample) for sample in decoded(last_lines(run.samples_file, SAMPLES), decode_sample)
        ],
        "memory": list(decoded(last_lines(run.machine_file, MOMENTS), decode)),
    }


def _exception(error: BaseException) -> dict[str, Any]:
    return {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "message": str(error),
        "traceback": [line.rstrip() for line in traceback.format_exception(error)],
    }
