"""How the engine speaks to whoever runs it: six calls, no protocol, no files."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Hooks(Protocol):
    """Given to every long-running function of the engine."""

    def safe_point(self) -> None:
        """A place where the caller may hold, save or leave (by an exception); all ranks come by equally often."""

    def token_point(self) -> None:
        """A safe point between the tokens of a response, which one rank may reach more often than another."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Names what happens inside."""

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        """`done` of `total` units of a long piece of work."""

    def note(self, text: str) -> None:
        """A fact worth keeping in the record."""

    def out_of_memory(self, error: Exception, *, what: str, rows: int, smaller: int | None) -> None:
        """Memory ran out in `what` with `rows` rows at a time; it is tried again with `smaller`, or (None) given up.

        Called while the frames of `error` still hold what was in memory.
        """


class NoHooks:
    """For library users and tests that want none of it."""

    def safe_point(self) -> None:
        return None

    def token_point(self) -> None:
        self.safe_point()

    def phase(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        return None

    def note(self, text: str) -> None:
        return None

    def out_of_memory(self, error: Exception, *, what: str, rows: int, smaller: int | None) -> None:
        return None
