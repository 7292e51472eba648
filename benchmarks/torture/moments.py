"""Counts what a worker does (safe points, phases, writes, renames, ...), and does harm at one chosen moment."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rlhf_sdk.commands import AnyCommand, Pause, Resume, Stop, send_command
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.worker_run import WorkerRun

How = Literal[
    "kill", "torn", "stop", "release", "terminate", "requeue", "checkpoint", "pause", "full_once", "full"
]  # fmt: skip

COMMANDS: dict[str, Callable[[], AnyCommand]] = {"stop": Stop, "release": lambda: Pause(release=True), "pause": Pause}
SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "requeue": signal.SIGUSR1, "checkpoint": signal.SIGUSR2}
DISK = ("write", "save tensors", "create", "make folder")
"""Kinds of moments that need disk space."""
RESERVE = ".reserve"
WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Blow:
    """What happens at the `at`-th moment of an attempt.

    `pause` holds the run and lets it go on at once, `checkpoint` asks for one by a signal; `torn` kills in the middle
    of a write; `full_once` lets one write fail for want of space, `full` all from there on, until the worker gives its
    reserve back.
    """

    how: How
    at: int


@dataclass
class Moments:
    """Those of one attempt, by what happens and in which phase, in their order."""

    run: RunDir
    blows: Mapping[int, How]
    note: Callable[[str], None]
    places: list[str] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    busy: bool = False
    full: How | None = None
    had_reserve: bool = False
    held: bool = False

    def reached(self, what: str, path: Path | None = None, tear: Callable[[], object] | None = None) -> None:
        """Counts one moment, and strikes if it is the chosen one. Raises `OSError` where the disk is full."""
        if self.busy:
            return
        self.places.append(self._place(what, path))
        how = self.blows.get(len(self.places))
        if how is not None:
            self.note(f"{how} {self.places[-1]}")
            self._strike(how, tear)
        if self.full and what in DISK:
            self._refuse()

    def _place(self, what: str, path: Path | None) -> str:
        if path is None:
            return f"{'/'.join(self.phases) or 'outside phases'}: {what}"
        where = path.relative_to(self.run.path).parts or (".",)
        if where[0] == "checkpoints":
            return f"checkpoint: {what}"
        return f"{'/'.join(self.phases) or 'outside phases'}: {what} {where[0] if len(where) == 1 else where[0] + '/'}"

    def _strike(self, how: How, tear: Callable[[], object] | None) -> None:
        self.busy = True
        if how == "torn":
            if tear is not None:
                tear()
            how = "kill"
        self.held = how == "pause"
        if how in COMMANDS:
            send_command(self.run.commands, COMMANDS[how]())
        if how in SIGNALS:
            os.kill(os.getpid(), SIGNALS[how])
        if how in ("full_once", "full"):
            self.full = how
        self.busy = False

    def _refuse(self) -> None:
        """A full disk; what the worker set aside is free again once the worker has removed it."""
        once = self.full == "full_once"
        given_back = self.had_reserve and not (self.run.path / RESERVE).exists()
        self.had_reserve = self.had_reserve or (self.run.path / RESERVE).exists()
        if once or given_back:
            self.full = None
        if once or not given_back:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def watch(self) -> None:
        """From here on; for good, as audit hooks are."""
        sys.addaudithook(self._audit)
        self._watch_descriptors()
        if "torch" in sys.modules:
            self._watch_tensors()
        self._watch_the_run()
        self._end_pauses()

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(arguments[0], str | bytes) and arguments[2] & WRITING:
                self._inside("create", arguments[0])
        elif event == "os.rename":
            self._inside("rename", arguments[0])
        elif event in ("os.remove", "os.rmdir"):
            self._inside("remove", arguments[0])
        elif event == "os.mkdir" and not Path(os.fsdecode(arguments[0])).exists():
            self._inside("make folder", arguments[0])

    def _inside(self, what: str, path: str | bytes | Path, tear: Callable[[], object] | None = None) -> None:
        """Counts what happens to a file of the run; a bare name is one that `rmtree` removes relative to a folder."""
        place = Path(os.fsdecode(path))
        if place.is_relative_to(self.run.path) or (what == "remove" and not place.is_absolute()):
            self.reached(what, place if place.is_absolute() else self.run.checkpoints / place, tear)

    def _watch_descriptors(self) -> None:
        write, fsync = os.write, os.fsync

        def counted_write(descriptor: int, data: Any) -> int:
            half = bytes(data)[: len(data) // 2]
            self._inside("write", _file_of(descriptor), tear=lambda: write(descriptor, half))
            return write(descriptor, data)

        def counted_fsync(fd: Any) -> None:
            self._inside("sync", _file_of(fd))
            fsync(fd)

        os.write, os.fsync = counted_write, counted_fsync

    def _watch_tensors(self) -> None:
        """The tensors' library writes without asking the interpreter."""
        import safetensors.torch

        real: Callable[..., None] = safetensors.torch.serialize_file

        def counted(tensors: Any, file: Any, *arguments: Any, **named: Any) -> None:
            def tear() -> None:
                real(tensors, file, *arguments, **named)
                os.truncate(file, Path(file).stat().st_size // 2)

            self.reached("save tensors", Path(file), tear=tear)
            real(tensors, file, *arguments, **named)

        safetensors.torch.serialize_file = counted

    def _end_pauses(self) -> None:
        """A worker that is held sleeps until it is told to go on."""
        sleep = time.sleep

        def told_to_go_on(seconds: Any) -> None:
            if self.held:
                self.held, self.busy = False, True
                send_command(self.run.commands, Resume())
                self.busy = False
            sleep(seconds)

        time.sleep = told_to_go_on

    def _watch_the_run(self) -> None:
        safe_point, phase = WorkerRun.safe_point, WorkerRun.phase

        def counted_safe_point(run: WorkerRun) -> None:
            self.reached("safe point")
            safe_point(run)

        @contextmanager
        def counted_phase(run: WorkerRun, name: str) -> Iterator[None]:
            self.phases.append(name)
            try:
                self.reached("begin")
                with phase(run, name):
                    yield
                    self.reached("end")
            finally:
                self.phases.pop()

        WorkerRun.safe_point = counted_safe_point  # type: ignore[assignment,method-assign]
        WorkerRun.phase = counted_phase  # type: ignore[assignment,method-assign]


def _file_of(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()
