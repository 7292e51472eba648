"""Gives the terminal back where the console is killed outright, and can't do it itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TERMINAL = 2
"""Textual draws on stderr."""

MODES_OFF = (2004, 2048, 1000, 1003, 1015, 1006, 1004)
LEAVE = "".join(rf"\033[?{mode}l" for mode in MODES_OFF) + r"\033[?7h\033[<u\033[?1049l\033[?25h\033[0m"
"""What Textual says at its end: no pasting in brackets, no mouse, no other keyboard protocol, the screen of before."""

SAID = r"rlhf-console was killed; the runs go on\r\n"
SCRIPT = """read -r ended || printf '%b' "$1" """
"""Waits for a line; the end of the pipe without one is the console's."""


@contextmanager
def guarded_terminal() -> Iterator[None]:
    """While the console has the terminal, a shell of its own session waits beside it (a megabyte).

    The modes of the terminal's line are the calling shell's to restore, as after any program that a signal ended.
    """
    try:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", SCRIPT, "rlhf-console-guard", LEAVE + SAID],
            stdin=subprocess.PIPE,
            stdout=TERMINAL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        yield
        return
    try:
        yield
    finally:
        with suppress(BrokenPipeError):
            guard.communicate(b"ended\n")
