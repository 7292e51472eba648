"""One contender in a process of its own, forked from one that has the libraries loaded; asleep between turns."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Self

from benchmarks.speed.peers import NoPeer, peer_path
from benchmarks.speed.stages import Contender
from benchmarks.speed.task import Task
from benchmarks.speed.turns import Turns

LAST_WORDS = 3
STANDARD_OUTPUT, STANDARD_ERROR = 1, 2

Turn = dict[str, Any]


class ContenderFailed(Exception):
    """A contender's process ended, or never began; says why."""


class Process:
    """Begins at once; `wait_until_ready` before the first turn. Raises ContenderFailed, as all its methods do."""

    open_ends: ClassVar[set[socket.socket]] = set()
    """Of all processes: a child that kept another's end open would keep that one from seeing its end."""

    def __init__(self, contender: Contender, task: Task) -> None:
        try:
            path = str(peer_path(contender.peer)) if contender.peer else ""
        except NoPeer as error:
            raise ContenderFailed(str(error)) from None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._end, theirs = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            for end in (self._end, *self.open_ends):
                end.close()
            self._work(contender, task, path, theirs)
        theirs.close()
        self.open_ends.add(self._end)
        self._answers = self._end.makefile("r")

    def _work(self, contender: Contender, task: Task, path: str, end: socket.socket) -> NoReturn:
        """The child's whole life."""
        code = 1
        try:
            for stream in (STANDARD_OUTPUT, STANDARD_ERROR):
                os.dup2(self._errors.fileno(), stream)
            os.environ.update(contender.environment)
            sys.path[:0] = [path] if path else []
            module, _, function = contender.work.partition(":")
            turns = Turns(task.device, end.makefile("r"), end.makefile("w"))
            getattr(importlib.import_module(f"benchmarks.speed.{module}"), function)(task, turns)
        except SystemExit:
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def wait_until_ready(self) -> None:
        self.answer()

    def turn(self) -> Turn:
        """One piece of work."""
        try:
            self._end.sendall(b"go\n")
        except OSError:
            raise self._failed() from None
        return self.answer()

    def answer(self) -> Turn:
        line = self._answers.readline()
        if not line:
            raise self._failed()
        answer: Turn = json.loads(line)
        return answer

    def _failed(self) -> ContenderFailed:
        self._errors.seek(0)
        words = self._errors.read().strip().splitlines()[-LAST_WORDS:]
        return ContenderFailed(" / ".join(words) or "ended without a word")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """The end of its input is the end of the process."""
        self.open_ends.discard(self._end)
        self._answers.close()
        self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()
        os.waitpid(self.pid, 0)
        self._errors.close()


def load_libraries() -> None:
    """What all contenders import, once for all; TRL, of which there are two versions, is each one's own."""
    for name in ("accelerate", "datasets", "transformers.trainer", "transformers.models.llama.modeling_llama"):
        importlib.import_module(name)
    for name in ("transformers.models.gpt_neox.modeling_gpt_neox", "benchmarks.speed.own", "benchmarks.speed.logprobs"):
        importlib.import_module(name)
    threads = list(Path("/proc/self/task").iterdir())
    assert len(threads) == 1, "a fork would lose the other threads"
