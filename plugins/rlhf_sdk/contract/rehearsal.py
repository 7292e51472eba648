"""One attempt of a worker that does to itself, at a chosen place, what a person or a scheduler might do to it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from rlhf_sdk import worker_control
from rlhf_sdk.commands import Pause, SampleNow, send_command
from rlhf_sdk.contract.config_reads import ConfigReads
from rlhf_sdk.files import PRIVATE_FILE, PRIVATE_UMASK
from rlhf_sdk.journal import last_attempt
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.spec import PluginSpec
from rlhf_sdk.trainer import Interruptible, Sampler, Trainer
from rlhf_sdk.worker import Worker
from rlhf_sdk.worker_run import WorkerRun

CHECKPOINT_STEPS = 2
"""Steps are done again after a kill, and not all of them."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What happens, after how many finished steps, at which safe point inside the step that follows (0: before it)."""

    how: Literal["nothing", "pause", "terminate", "kill", "sample"] = "nothing"
    step: int = 0
    place: int = 0
    prompts: list[str] = []


class Seen(msgspec.Struct, kw_only=True):
    """What was seen of an attempt: safe points inside its longest step, the longest time without one in seconds and
    after how many steps, what the trainer can do, and the keys of the config that nobody read."""

    safe_points: int = 0
    longest_gap_seconds: float = 0.0
    longest_gap_step: int = 0
    interruptible: bool = False
    sampler: bool = False
    unread: list[str] = []


class RehearsedRun(WorkerRun):
    """Strikes once. Until it is `armed`, when set-up is over, nothing counts."""

    act = Act()
    seen: Seen
    armed = False
    _inside = 0
    _before = 0.0

    def safe_point(self) -> None:
        if self.armed:
            self._inside = self._inside + 1 if self.inside_step else 0
            self._measure()
            if (self.step, self._inside) == (self.act.step, self.act.place):
                act, self.act = self.act, Act(step=-1)
                self._strike(act)
        super().safe_point()
        self._before = time.monotonic()

    def _measure(self) -> None:
        self.seen.safe_points = max(self.seen.safe_points, self._inside)
        gap = time.monotonic() - self._before if self._before else 0.0
        if gap > self.seen.longest_gap_seconds:
            self.seen.longest_gap_seconds, self.seen.longest_gap_step = gap, self.step

    def _strike(self, act: Act) -> None:
        commands = RunDir(self.directory).commands
        if act.how == "pause":
            send_command(commands, Pause())
        elif act.how == "sample":
            send_command(commands, SampleNow(prompts=act.prompts))
        elif act.how == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        elif act.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)


class Rehearsal(Worker):
    """A worker of the contract kit."""

    run_type: ClassVar[type[WorkerRun]] = RehearsedRun

    def __init__(self, directory: RunDir, act: Act) -> None:
        options = AttemptOptions(checkpoint_steps=CHECKPOINT_STEPS)
        attempt = last_attempt(directory.events_file) + 1
        super().__init__(directory, attempt=attempt, since=time.time(), options=options)
        self.act, self.seen, self.reads = act, Seen(), ConfigReads()

    def _prepare(self, spec: PluginSpec, run: WorkerRun, trainer: Trainer) -> None:
        assert isinstance(run, RehearsedRun)
        run.act, run.seen = self.act, self.seen
        self.reads.watch(spec.config)
        super()._prepare(spec, run, trainer)
        self.seen.interruptible, self.seen.sampler = isinstance(trainer, Interruptible), isinstance(trainer, Sampler)
        run.armed = True


def rehearse(run: RunDir, act: Act, notes: Path) -> int:
    """Runs the worker once in this process; what was seen goes to `notes`. Returns the exit code."""
    os.umask(PRIVATE_UMASK)
    _print_to(run.log)
    worker_control.POLL_SECONDS = 0.0
    rehearsal = Rehearsal(run, act)
    code = rehearsal.main()
    rehearsal.seen.unread = rehearsal.reads.missing()
    notes.write_bytes(msgspec.json.encode(rehearsal.seen))
    return code


def _print_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


if __name__ == "__main__":
    os._exit(rehearse(RunDir(Path(sys.argv[1])), Act(), Path(sys.argv[2])))
