"""Runs that something else recorded, as run directories: nothing can be asked of them, everything can be read."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk.events import Event, Finished, Sample, Started, StateChanged, encode_line
from rlhf_sdk.files import make_private_directory, write_atomically
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord, ProcessIdentity, RunRecord, RunStatus, encode_record
from rlhf_sdk.run_root import new_run_id
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

PLUGIN = "imported"


def write_imported(
    root: Path, *, name: str, source: dict[str, Any], events: Iterable[Event], samples: Iterable[Sample], steps: int
) -> RunDir:
    """A finished run with these events and samples, in their order; `source` says where they are from.

    Raises `UserError` for a name that can't be used and a root that can't be written; nothing is left behind then.
    """
    run_id, now = new_run_id(name), time.time()
    aside = RunDir(root / f".{run_id}.{secrets.token_hex(4)}.tmp")
    record = RunRecord(id=run_id, name=name, plugin=PLUGIN, config=source, created=now)
    try:
        if not root.is_dir():
            make_private_directory(root)
        make_private_directory(aside.path)
        write_atomically(aside.record_file, encode_record(record))
        events = [Started(plugin=PLUGIN, total_steps=steps), *events]
        events += [
            StateChanged(state=State.FINISHED, step=steps, time=now),
            Finished(exit_code=0, reason="imported", step=steps, time=now),
        ]
        write_atomically(aside.events_file, _numbered(events))
        write_atomically(aside.samples_file, _numbered(samples))
        write_atomically(aside.status_file, encode_record(_status(now)))
        verdict = ExitRecord(state=State.FINISHED, attempt=1, exit_code=0, reason="imported", time=now)
        write_atomically(aside.exit_file, encode_record(verdict))
        return RunDir(aside.path.rename(root / run_id))
    except OSError as error:
        raise UserError(f"can't make a run in {root}: {error.strerror}") from error


def _numbered(records: Iterable[Event | Sample]) -> bytes:
    return b"".join(encode_line(msgspec.structs.replace(record, seq=seq)) for seq, record in enumerate(records, 1))


def _status(now: float) -> RunStatus:
    nobody = ProcessIdentity(pid=0, start="")
    return RunStatus(
        state=State.FINISHED, attempt=1, started=now, time=now, host=socket.gethostname(), boot_id="", shim=nobody
    )
