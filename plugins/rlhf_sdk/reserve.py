"""A little disk space set aside, so that a run on a full disk can still say why it ends."""

from __future__ import annotations

import os
from pathlib import Path

from rlhf_sdk.files import PRIVATE_FILE

RESERVE_BYTES = 64 << 10
_NAME = ".reserve"


def make_reserve(run: Path) -> None:
    descriptor = os.open(run / _NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    try:
        os.write(descriptor, bytes(RESERVE_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def release_reserve(run: Path) -> None:
    (run / _NAME).unlink(missing_ok=True)
