"""The console in a process of its own, on a terminal that counts bytes, may be slow, and knows what it shows."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyte

COLUMNS, LINES = 120, 40
BLOCK = 1 << 16
PATIENCE_SECONDS = 60.0
CONSOLE = "rlhf_console.tui.main"


class Terminal:
    """A `module` that opens the console, on 120 x 40 cells.

    What it writes is taken from it at once, as an SSH server does, and reaches the screen at `bytes_per_second`.
    `received` counts what has. Where `answers` is set, it tells where the cursor is when it is asked, as terminals do.
    From the second start on the console has bytecode, as an installed one has.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        state: Path,
        bytes_per_second: float = float("inf"),
        answers: bool = True,
    ) -> None:
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._rate, self._waiting, self._served = bytes_per_second, bytearray(), time.monotonic()
        self.received = 0
        self._ours, theirs = pty.openpty()
        if answers:
            self._screen.write_process_input = lambda text: os.write(self._ours, text.encode())
        termios.tcsetwinsize(theirs, (LINES, COLUMNS))
        environment = {
            **os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "XDG_STATE_HOME": str(state),
            "PYTHONPYCACHEPREFIX": str(state / "bytecode"), "PYTHONDONTWRITEBYTECODE": "",
        }  # fmt: skip
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environment,
        )  # fmt: skip
        os.close(theirs)
        self._readable = select.poll()
        self._readable.register(self._ours, select.POLLIN)
        self._process = psutil.Process(self.process.pid)

    @property
    def text(self) -> str:
        return "\n".join(self._screen.display)

    @property
    def backlog(self) -> int:
        """Bytes that have not reached the screen."""
        return len(self._waiting)

    @property
    def cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    @property
    def rss_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def mappings(self, word: str) -> int:
        """Files in the process's memory whose name has `word` in it; Linux alone tells."""
        return sum(word in line for line in Path(f"/proc/{self.process.pid}/maps").read_text().splitlines())

    def press(self, key: str) -> None:
        os.write(self._ours, key.encode())

    def run_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._serve(min(left, 0.02))

    def seconds_until(self, seen: Callable[[str], bool]) -> float:
        """How long it takes until the screen's text is as wanted. Raises `TimeoutError` after a minute."""
        began = time.monotonic()
        while not seen(self.text):
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise TimeoutError(self.text)
            self._serve(0.005)
        return time.monotonic() - began

    def _serve(self, patience: float) -> None:
        if self._readable.poll(patience * 1000):
            self._waiting += os.read(self._ours, BLOCK)
        now = time.monotonic()
        count = len(self._waiting) if self._rate == float("inf") else int((now - self._served) * self._rate)
        self._served = now if count or not self._waiting else self._served
        ready = bytes(self._waiting[:count])
        del self._waiting[:count]
        self.received += len(ready)
        self._stream.feed(ready)

    def close(self) -> None:
        self.process.terminate()
        end = time.monotonic() + PATIENCE_SECONDS
        self._rate = float("inf")
        while self.process.poll() is None and time.monotonic() < end:
            try:
                self._serve(0.05)
            except OSError:
                break
        self.process.wait(PATIENCE_SECONDS)
        os.close(self._ours)
