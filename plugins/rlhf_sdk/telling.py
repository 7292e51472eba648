"""Sends one message, read as JSON from stdin, to the address in $RLHF_NOTIFY: `python -m rlhf_sdk.telling`.

A process of its own for each message: no server and no library can hold up a run.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from types import FrameType
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import msgspec

from rlhf_sdk.notify import ENVIRONMENT, WEB, Message, apprise_for, check_address, masked
from rlhf_sdk.scrubbing import scrub_standard_streams

TIMEOUT_SECONDS = 10.0
DEADLINE_SECONDS = 120
WAITS_SECONDS = (1.0, 5.0, 25.0)
REPLY_BYTES = 4096
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class NotSent(Exception):
    """Why a message did not arrive; `again` if a later try may fare better."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


def tell(address: str, message: Message, waits: Sequence[float] = WAITS_SECONDS) -> None:
    """Sends, and tries again after each of `waits` (seconds) where that may help. Raises `NotSent`, or
    `UserError` if no message can be sent there."""
    send = _post if urlsplit(check_address(address)).scheme in WEB else _send_by_apprise
    for wait in waits:
        try:
            return send(address, message)
        except NotSent as problem:
            if not problem.again:
                raise
            time.sleep(wait)
    return send(address, message)


def _post(address: str, message: Message) -> None:
    """JSON by POST. Redirects are not followed: they would lead what is told, and its address, to somebody else."""
    fields = {**msgspec.to_builtins(message), "text": f"{message.title}: {message.message}"}
    request = urllib.request.Request(
        address, data=msgspec.json.encode(fields), headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with _opener().open(request, timeout=TIMEOUT_SECONDS) as reply:
            reply.read(REPLY_BYTES)
    except HTTPError as error:
        if 300 <= error.code < 400:
            target = masked(error.headers.get("Location") or "")
            raise NotSent(f"it redirects to {target}, which is not followed") from None
        raise NotSent(f"it answered {error.code}", again=error.code in _TRY_AGAIN) from None
    except URLError as error:
        raise NotSent(str(error.reason), again=True) from None
    except (OSError, HTTPException) as error:
        raise NotSent(str(error) or type(error).__name__, again=True) from None


def _opener() -> urllib.request.OpenerDirector:
    """Knows http and https alone: no files, no FTP, no redirects."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _send_by_apprise(address: str, message: Message) -> None:
    service = apprise_for(address)
    kinds = {"info": "info", "warning": "warning", "error": "failure"}
    body = f"{message.message}\n{message.advice}".strip()
    if not service or not service.notify(title=message.title, body=body, notify_type=kinds[message.severity]):
        raise NotSent("apprise could not send it", again=bool(service))


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise NotSent(f"no success within {DEADLINE_SECONDS} s")


def main() -> None:
    scrub_standard_streams()
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(DEADLINE_SECONDS)
    address = os.environ[ENVIRONMENT]
    message = msgspec.json.decode(sys.stdin.buffer.read(), type=Message)
    try:
        tell(address, message)
    except Exception as problem:
        line = " ".join(f"{problem}".split())
        print(f"{message.what} could not be told to {masked(address)}: {line}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
