"""Whom to tell how a run fares: the address in $RLHF_NOTIFY, and one process for each message.

The address is known from the environment alone, never from a run directory, and is shown without its path.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import msgspec

from rlhf_sdk.events import Severity
from rlhf_sdk.scrubbing import scrub
from rlhf_sdk.trainer import UserError

ENVIRONMENT = "RLHF_NOTIFY"
WEB = ("http", "https")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is told: `what` is the state that the run ended in, or an alert's code; `time` is Unix seconds."""

    run: str
    what: str
    severity: Severity
    message: str
    advice: str = ""
    host: str
    time: float

    @property
    def title(self) -> str:
        return f"{self.run}: {self.what}"


def masked(address: str) -> str:
    """Scheme and host of an address: the rest may be a key."""
    try:
        parts = urlsplit(address)
        return f"{parts.scheme}://{parts.hostname if parts.scheme in WEB else ''}/***"
    except ValueError:
        return "***"


def check_address(address: str) -> str:
    """`address`, if a message can be sent there: a webhook (http, https), or anything else that apprise knows.

    Raises `UserError` if not, without showing it.
    """
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname)
    except ValueError:
        has_host = False
    if not has_host or not address.isprintable() or " " in address:
        raise UserError("--notify: not an address; expected https://HOST/PATH, or an address of apprise")
    if parts.scheme in WEB:
        return address
    if importlib.util.find_spec("apprise") is None:
        raise UserError(
            f"--notify {masked(address)}: webhooks are http or https; for other services "
            "`pip install 'rlhf-console[notify]'`"
        )
    if not apprise_for(address):
        raise UserError(f"--notify {masked(address)}: apprise knows no such service")
    return address


def apprise_for(address: str) -> Any:
    """An apprise object with this address; None if it knows no such service."""
    import apprise

    service = apprise.Apprise()
    return service if service.add(address) else None


def start_telling(message: Message) -> subprocess.Popen[bytes]:
    """Starts the process that sends `message`, and returns at once; what it has to say goes to this one's stderr."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "rlhf_sdk.telling"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    with process.stdin as stream:
        stream.write(msgspec.json.encode(scrub(msgspec.to_builtins(message))))
    return process
