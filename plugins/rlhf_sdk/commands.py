"""What a person or a script may ask of a running worker: one file a command, acknowledged by an event."""

from __future__ import annotations

import os
import stat
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk.files import make_private_directory, write_atomically

MAX_BYTES = 1 << 20


def _new_id() -> str:
    return uuid.uuid4().hex


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command"):
    """What every command carries; `time` is Unix time in seconds."""

    id: str = msgspec.field(default_factory=_new_id)
    time: float = msgspec.field(default_factory=time.time)
    sender: str = ""


class Stop(Command, frozen=True, tag="stop"):
    """Checkpoint and end; a resume goes on from there."""


class Checkpoint(Command, frozen=True, tag="checkpoint"):
    """Checkpoint as soon as the trainer can be left, and go on."""


class Pause(Command, frozen=True, tag="pause"):
    """Hold at the next safe point; with `release`, checkpoint and end instead, so that the device is free."""

    release: bool = False


class Resume(Command, frozen=True, tag="resume"):
    """Go on after a pause."""


class SampleNow(Command, frozen=True, tag="sample"):
    """Show what the policy writes for these prompts; with none, for the first of the trainer's own."""

    prompts: list[str] = []


class SetValue(Command, frozen=True, tag="set"):
    """Change a hyper-parameter that is declared live."""

    key: str
    value: Any


AnyCommand = Stop | Checkpoint | Pause | Resume | SampleNow | SetValue


def send_command(directory: Path, command: AnyCommand) -> str:
    """Leaves `command` in a run's `commands` folder and returns its id, which the acknowledging event repeats."""
    make_private_directory(directory)
    write_atomically(directory / _file_name(command), msgspec.json.encode(command), durable=False)
    return command.id


def withdraw_command(directory: Path, command: AnyCommand) -> None:
    """Takes back a command that nobody has read, so that no later attempt finds it."""
    (directory / _file_name(command)).unlink(missing_ok=True)


def _file_name(command: AnyCommand) -> str:
    return f"{int(command.time * 1e9):020d}-{command.id}.json"


def pending_files(directory: Path) -> list[Path]:
    """Commands not yet handled, oldest first."""
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".json" and path.name[0] != ".")
    except FileNotFoundError:
        return []


def read_command(path: Path) -> AnyCommand:
    """The command in a file `<time>-<id>.json`; the id in the name counts where the file has none.

    Raises `ValueError` if it is no command, `OSError` if it can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            raise ValueError(f"not a plain file of at most {MAX_BYTES} bytes")
        fields = msgspec.json.decode(stream.read(), type=dict[str, Any])
    command: AnyCommand = msgspec.convert({"id": path.stem.rpartition("-")[2]} | fields, type=AnyCommand)
    return command
