"""The console in a browser of this machine, by textual-serve: for those whose terminal can't show it."""

from __future__ import annotations

import getpass
import shlex
import socket
import sys
from importlib import import_module
from typing import Any

from rlhf_sdk.trainer import UserError

HOST = "127.0.0.1"
PORT = 8765


def serve(arguments: list[str], port: int) -> None:
    """Serves the console with these arguments until it is interrupted; says how to reach it from elsewhere.

    Raises `UserError` where textual-serve is not installed.
    """
    server = _server_type()
    command = shlex.join([sys.executable, "-P", "-m", "rlhf_console.tui.main", *arguments])
    print(how_to_reach(port), file=sys.stderr, flush=True)
    server(command, host=HOST, port=port, title="rlhf-console").serve()


def _server_type() -> Any:
    try:
        return import_module("textual_serve.server").Server
    except ImportError:
        raise UserError("--serve needs textual-serve: pip install textual-serve") from None


def how_to_reach(port: int) -> str:
    """For people: the address here, and the tunnel to it."""
    there = f"{getpass.getuser()}@{socket.gethostname()}"
    return (
        f"http://{HOST}:{port} on this machine, to everybody who has an account on it; Ctrl-C ends it, and no run\n"
        f"from elsewhere: ssh -L {port}:{HOST}:{port} {there}, then the same address there"
    )
