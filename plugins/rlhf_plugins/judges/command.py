"""A program as a judge: questions as JSON lines to its standard input, answers as JSON lines from its output."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO

import msgspec

from rlhf_engine.errors import ConfigError
from rlhf_engine.hooks import Hooks
from rlhf_plugins.judges.questions import Judgement, Question, asked_as_data, judgement_of, one_line

POLL_SECONDS = 0.2


class CommandJudge:
    """Answers may come in any order; `timeout_seconds` of silence while some are missing end the program."""

    paid_usd = None

    def __init__(self, command: Sequence[str], timeout_seconds: float) -> None:
        if not command:
            raise ConfigError("judge.command: none given; name a program and its arguments")
        self.command, self.timeout_seconds = list(command), timeout_seconds
        self.name = " ".join(command)
        self.problems: list[str] = []

    def ask(self, questions: Sequence[Question], hooks: Hooks) -> Iterator[Judgement]:
        with contextlib.ExitStack() as stack:
            try:
                program = stack.enter_context(_Program(self.command, asked_as_data(questions)))
            except OSError as error:
                self.problems.append(f"{self.command[0]} can't be started: {error.strerror}")
                return
            yield from self._judgements(program, len(questions), hooks)

    def _judgements(self, program: _Program, count: int, hooks: Hooks) -> Iterator[Judgement]:
        missing, unreadable = set(range(count)), 0
        for line in self._lines(program, missing, hooks):
            judgement = _judgement(line, count)
            if judgement is None or judgement.index not in missing:
                unreadable += 1
                continue
            missing.remove(judgement.index)
            yield judgement
        if unreadable:
            self.problems.append(f"{unreadable} lines of {self.command[0]} answer no open question")
        if missing and program.exit_code is not None:
            said = f": {program.last_words}" if program.last_words else ""
            self.problems.append(f"{self.command[0]} ended with exit code {program.exit_code}{said}")

    def _lines(self, program: _Program, missing: set[int], hooks: Hooks) -> Iterator[bytes]:
        """What the program writes, until nothing is missing, it ends, or it is silent for too long."""
        silent = 0.0
        while missing:
            hooks.safe_point()
            line = program.next_line(POLL_SECONDS)
            if line is None:
                silent += POLL_SECONDS
            elif not line:
                program.wait()
                return
            else:
                silent = 0.0
                yield line
            if silent >= self.timeout_seconds:
                self.problems.append(f"{self.command[0]} was silent for {self.timeout_seconds:g} s and was ended")
                return


class _Program:
    """The process, in a group of its own, with a thread for each of its three streams."""

    def __init__(self, command: Sequence[str], asked: Sequence[object]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._errors: deque[str] = deque(maxlen=1)
        self._threads = [
            threading.Thread(target=self._write, args=(self._process.stdin, asked), daemon=True),
            threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    @property
    def last_words(self) -> str:
        """The last line that it wrote to standard error."""
        return self._errors[0] if self._errors else ""

    def next_line(self, seconds: float) -> bytes | None:
        """A line, b"" after the last one, None where there is none within `seconds`."""
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            return None

    def wait(self) -> None:
        """Its output has ended: waits for its end, and for its last words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1.0)
        self._threads[2].join(timeout=1.0)

    def __enter__(self) -> _Program:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _write(self, stream: IO[bytes], asked: Sequence[object]) -> None:
        with contextlib.suppress(BrokenPipeError), stream:
            for question in asked:
                stream.write(msgspec.json.encode(question) + b"\n")
                stream.flush()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(b"")

    def _read_errors(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._errors.append(one_line(line.decode(errors="replace")))


def _judgement(line: bytes, count: int) -> Judgement | None:
    try:
        return judgement_of(msgspec.json.decode(line), count)
    except (ValueError, RecursionError):
        return None
