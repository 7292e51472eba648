"""The console in a process of its own, on a terminal that remembers what it shows."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pyte

PATIENCE_SECONDS = 30.0
COLUMNS, LINES = 120, 40


class Terminal:
    """`command` on a terminal of 120 x 40; `sent` is everything that reached it."""

    def __init__(self, command: list[str], **environment: str) -> None:
        self.sent = b""
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (LINES, COLUMNS))
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )
        os.close(theirs)
        self._readable = select.poll()
        self._readable.register(self._ours, select.POLLIN)

    def shows(self, *wanted: str) -> list[str]:
        """The lines on the screen, as soon as all of `wanted` stand there; fails after a while."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self._readable.poll(100):
                try:
                    piece = os.read(self._ours, 1 << 16)
                except OSError:
                    break
                self.sent += piece
                self._stream.feed(piece)
            lines = list(self._screen.display)
            if all(any(text in line for line in lines) for text in wanted):
                return lines
        if self.process.poll() is None:
            self.kill()
        raise AssertionError(f"{wanted} not shown:\n" + "\n".join(self._screen.display))

    def rest(self) -> bytes:
        """All that was sent, after the process has ended."""
        with suppress(OSError):
            while piece := os.read(self._ours, 1 << 16):
                self.sent += piece
        return self.sent

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Ends the process, and returns what became of it."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        os.close(self._ours)
        return code

    def vanish(self) -> int:
        """The terminal is gone, without a word; returns how the process ended."""
        os.close(self._ours)
        return self.process.wait(PATIENCE_SECONDS)


def console(root: Path, *arguments: str, **environment: str) -> Terminal:
    return Terminal([sys.executable, "-m", "rlhf_console.tui.main", "--runs", str(root), *arguments], **environment)
