"""Small things that the console remembers from one session to the next."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk.bounds import read_record
from rlhf_sdk.files import PRIVATE_FILE, make_private_directory, write_atomically
from rlhf_sdk.trainer import UserError

MOST_KEYS = 200


def state_folder() -> Path:
    """`rlhf-console` under $XDG_STATE_HOME, else under ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "rlhf-console"


class StateFile:
    """A JSON object that several consoles may change at once; the `MOST_KEYS` that were set last are kept."""

    def __init__(self, name: str) -> None:
        self.path = state_folder() / name

    def read(self) -> dict[str, Any]:
        """Empty where nothing was kept yet. Raises `UserError` for a damaged file."""
        try:
            return msgspec.json.decode(read_record(self.path), type=dict[str, Any])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise UserError(f"{self.path} is damaged and is not used: {error}") from error

    def set(self, key: str, value: Any) -> None:
        """Changes one key, and leaves what others have written meanwhile. Raises `UserError` if that can't be written.

        A damaged file is begun anew.
        """
        try:
            make_private_directory(self.path.parent)
            with self._alone():
                kept = self._read_or_begin()
                kept.pop(key, None)
                kept[key] = value
                newest = dict(list(kept.items())[-MOST_KEYS:])
                write_atomically(self.path, msgspec.json.encode(newest), durable=False)
        except OSError as error:
            raise UserError(f"{self.path} can't be written: {error.strerror}") from error

    def _read_or_begin(self) -> dict[str, Any]:
        try:
            return self.read()
        except UserError:
            return {}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other console changes the file."""
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
