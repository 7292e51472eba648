"""Another machine's part of a run: torchrun here, begun again whenever the others are lost, for as long as they wait.

What torchrun and the ranks here print goes to `ranks/HOST.log` in the run's directory.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import msgspec

from rlhf_sdk import launch
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import PRIVATE_FILE, make_private_directory
from rlhf_sdk.liveness import boot_id, host_name, runs_here
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.ranked.meeting import reachable
from rlhf_sdk.ranked.reports import FOLDER, LOST_OTHERS, RankReport, read_reports
from rlhf_sdk.ranked.starting import RankSignals, end_ranks, join_command, worker_environment
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord, RunStatus
from rlhf_sdk.scrubbing import Blotter, own_scrubber
from rlhf_sdk.states import ENDED
from rlhf_sdk.trainer import UserError

POLL_SECONDS = 0.2
VERDICT_SECONDS = 10.0
"""How long the machine that started the run may take to say how it ended, once the ranks here have."""

LONGER_SECONDS = 30.0
"""How much longer than the first machine others wait, so that its word is heard."""

PAUSE_SECONDS = 2.0
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def take_part(run: RunDir, processes: int, tell: Callable[[str], None]) -> int:
    """With `processes` here (0: as many as on the first machine), until the run has ended; returns its exit code.

    REQUEUE where the others can't be reached any more, 128 + n where signal n ended this machine's part alone. `tell`
    is given a line whenever something changes. Raises `UserError` for a run that nobody can join.
    """
    return _Part(run, processes, tell).main()


def check_joinable(run: RunDir) -> RunStatus:
    """The attempt that can be joined; raises `UserError` where there is none."""
    status = run.status()
    if status is None or status.options.nodes < 2:
        raise UserError(f"run {run.id} waits for no other machine: start it with --nnodes and --rdzv")
    if status.state in ENDED:
        raise UserError(f"run {run.id} is {status.state}: there is nothing to join until somebody resumes it")
    if runs_here(status) and status.boot_id == boot_id():
        raise UserError(f"run {run.id} was started on this machine, which takes part already: join it from another")
    return status


class _Part:
    def __init__(self, run: RunDir, processes: int, tell: Callable[[str], None]) -> None:
        self._run, self._processes, self._tell = run, processes, tell
        self._leaving = 0
        self._log = _open_log(run.path)
        self._together = time.monotonic()
        self._told = ""

    def main(self) -> int:
        status = check_joinable(self._run)
        self._signals = RankSignals(self._run.path, status.attempt)
        for number in PASSED_ON:
            signal.signal(number, self._hear)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._say(f"takes part in run {self._run.id}, started on {status.host}; the log is {self._log}")
        while True:
            ended_well = self._met(status) and self._in_torchrun(status)
            verdict = self._verdict(VERDICT_SECONDS if ended_well else PAUSE_SECONDS)
            if verdict is not None:
                return self._end(verdict)
            if self._leaving:
                return 128 + self._leaving
            if self._too_long(status):
                return self._give_up(status)
            self._say(f"{self._loss(status)}; waits for the others for {self._patience(status):.0f} s")
            status = check_joinable(self._run)

    def _met(self, status: RunStatus) -> bool:
        """Waits for the place where machines meet; False where it can't be reached, or there is no more need to."""
        while not (found := reachable(status.options.rendezvous)):
            if self._leaving or self._too_long(status) or launch.verdict(self._run):
                break
            time.sleep(POLL_SECONDS)
        return found

    def _in_torchrun(self, status: RunStatus) -> bool:
        """Until torchrun ends; whether it says that all is as it should be.

        Cut off from the others it is ended: it would hear too late that they can be reached again, or then, giving up,
        tell them that all is over.
        """
        options = self._options(status)
        command = join_command(self._run.path, status, options)
        with open(self._log, "ab", opener=_private) as log:
            # In a group of its own: Ctrl-C is a wish that all ranks obey, and must not reach them as a signal.
            self._agent = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
                env=worker_environment(options),
            )  # fmt: skip
        blotter = Blotter(self._log, own_scrubber())
        while self._agent.poll() is None:
            if self._linked():
                self._together, self._told = time.monotonic(), ""
            elif self._lost() and not reachable(options.rendezvous):
                self._agent.kill()
            self._signals.deliver()
            blotter.blot()
            time.sleep(POLL_SECONDS)
        blotter.blot()
        end_ranks(self._run.path)
        return self._agent.returncode == 0

    def _too_long(self, status: RunStatus) -> bool:
        """Since the ranks here were together with the others, or since this part began."""
        return time.monotonic() - self._together > self._patience(status) + LONGER_SECONDS

    def _options(self, status: RunStatus) -> AttemptOptions:
        return msgspec.structs.replace(status.options, processes=self._processes or status.options.processes)

    def _patience(self, status: RunStatus) -> float:
        return status.options.patience_seconds

    def _own_reports(self) -> list[RankReport]:
        return [report for report in read_reports(self._run.path) if report.host == host_name()]

    def _linked(self) -> bool:
        """Whether the ranks here have met the others."""
        return any(report.lives() and report.at != "starting" for report in self._own_reports())

    def _lost(self) -> bool:
        """Whether the ranks here have ended because they lost others."""
        own = self._own_reports()
        return bool(own) and all(report.code == LOST_OTHERS for report in own)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        """The run obeys, as on the machine that started it. What ends it ends this part where it comes again, or where
        nobody would hear.
        """
        if number in (signal.SIGINT, signal.SIGTERM):
            if self._leaving or not self._linked():
                with suppress(ProcessLookupError):
                    self._agent.kill()
            else:
                self._say("passed on to the run, which ends with a checkpoint; again: this part ends alone")
            self._leaving = number
        self._signals.send(number)

    def _verdict(self, patience: float) -> ExitRecord | None:
        deadline = time.monotonic() + patience
        while (found := launch.verdict(self._run)) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return found

    def _end(self, verdict: ExitRecord) -> int:
        self._say(f"run {self._run.id} is {verdict.state}{f': {verdict.reason}' if verdict.reason else ''}")
        return verdict.exit_code

    def _give_up(self, status: RunStatus) -> int:
        again = f"`rlhf join {self._run.id}` tries again"
        alone = f"`rlhf resume {self._run.id} --nnodes 1` goes on here if {status.host} is gone for good"
        self._say(f"{self._loss(status)}; nobody came within {self._patience(status):.0f} s: {again}, {alone}")
        return ExitCode.REQUEUE

    def _loss(self, status: RunStatus) -> str:
        said = [report.reason for report in self._own_reports() if report.reason]
        return said[0] if said else f"nobody is met at {status.options.rendezvous}"

    def _say(self, text: str) -> None:
        """Once, however often it is so; a terminal may be gone."""
        if text != self._told:
            self._told = text
            with suppress(OSError):
                self._tell(text)


def _open_log(run: Path) -> Path:
    """Where this machine's part is logged; made, so that it can be watched from its beginning."""
    make_private_directory(run / FOLDER)
    path = run / FOLDER / f"{re.sub(r'[^A-Za-z0-9._-]', '-', host_name())}.log"
    with open(path, "ab", opener=_private):
        return path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)
