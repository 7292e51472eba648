"""How far the terminal is behind, so that frames are left out rather than queued on a slow line.

A terminal, and whatever lies between, may hold megabytes that nobody has seen yet; a key is answered behind them all.
So after a frame the terminal is asked where its cursor is (`CSI 6 n`, which terminals since the VT100 answer in turn):
until it has answered, it is behind. One that never answers is behind while its line takes no more.
"""

from __future__ import annotations

import select
import signal
import time
from typing import Generic

from textual import events
from textual.app import App, ReturnType

WHERE_IS_THE_CURSOR = "\x1b[6n"
GIVE_UP_SECONDS = 10.0
LOOK_SECONDS = 1.0
STDIN, STDERR = 0, 2
ENDED_BY_HANGUP = 128 + signal.SIGHUP


class Link:
    """Questions and answers; one question is open at a time."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._drawn_since = False
        self._answers = False

    def drawn(self, now: float) -> bool:
        """Something was sent to the terminal; True if it is to be asked now."""
        if self._asked_at is not None and now - self._asked_at < GIVE_UP_SECONDS:
            self._drawn_since = True
            return False
        self._asked_at, self._drawn_since = now, False
        return True

    def answered(self, now: float) -> bool:
        """The terminal has caught up with the question; True if it is to be asked again, for what was sent since."""
        self._answers, self._asked_at = True, None
        return self._drawn_since and self.drawn(now)

    def is_behind(self, now: float) -> bool:
        if self._answers:
            return self._asked_at is not None and now - self._asked_at < GIVE_UP_SECONDS
        return not _takes_more()


def _takes_more() -> bool:
    """Whether the terminal's line, on which Textual draws, takes more bytes at once."""
    poll = select.poll()
    poll.register(STDERR, select.POLLOUT)
    return bool(poll.poll(0))


def terminal_is_gone() -> bool:
    """Whether nobody is at the other end any more; SIGHUP does not always get here to say so."""
    poll = select.poll()
    poll.register(STDIN, 0)
    return bool(poll.poll(0))


class LinkedApp(App[ReturnType], Generic[ReturnType]):
    """An app that knows whether its terminal is behind."""

    def __init__(self, *, ansi_color: bool | None = None) -> None:
        super().__init__(ansi_color=ansi_color)
        self._link = Link()

    def end_with_the_terminal(self) -> None:
        """Looks every second; Textual's own input thread would go round and round at the end of its input."""
        if not self.is_headless:
            self.set_interval(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        if terminal_is_gone():
            self.exit(return_code=ENDED_BY_HANGUP)

    @property
    def terminal_is_behind(self) -> bool:
        return not self.is_headless and self._link.is_behind(time.monotonic())

    def post_display_hook(self) -> None:
        if self._link.drawn(time.monotonic()):
            self._ask()

    def on_cursor_position(self, _: events.CursorPosition) -> None:
        if self._link.answered(time.monotonic()):
            self._ask()

    def _ask(self) -> None:
        if self._driver is not None and not self.is_headless:
            self._driver.write(WHERE_IS_THE_CURSOR)
