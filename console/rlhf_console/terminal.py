"""What the terminal can do."""

from __future__ import annotations

import os
import sys


def is_capable_terminal() -> bool:
    """Textual reads keys from stdin and draws on stderr, unless another driver (a browser's) was asked for."""
    if os.environ.get("TEXTUAL_DRIVER"):
        return True
    return sys.stdin.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
