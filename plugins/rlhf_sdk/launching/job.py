"""What a job runs: the next attempt of a run, on the machine where it is called, as often as it is called.

`python -m rlhf_sdk.launching.job RUN [--options JSON] [--node N] [--mirror DIR]`. Ends with the run's exit code; 75:
call it again. SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 are passed on to the run.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import msgspec

from rlhf_sdk import launch
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import PRIVATE_UMASK
from rlhf_sdk.launching.mirror import Mirror
from rlhf_sdk.launching.shim_process import START_TIMEOUT_SECONDS, begin_attempt
from rlhf_sdk.liveness import is_alive
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.ranked.joining import take_part
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunStatus
from rlhf_sdk.scrubbing import scrub_standard_streams
from rlhf_sdk.states import ENDED, State
from rlhf_sdk.trainer import UserError

POLL_SECONDS = 0.1
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Attempt:
    """The run's next attempt. Whoever handles signals calls `pass_on` or `interrupt`, also from within a handler."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        before = run.status()
        self._before = before.attempt if before else 0
        self._begun = False

    def make(self, options: AttemptOptions) -> int:
        """Returns the run's exit code when the attempt has ended; makes none of a run that is finished or was taken
        back. Raises `UserError` if it can't be started."""
        placed = self.run.placement()
        if placed is not None and placed.ended is not None:
            return 128 + signal.SIGTERM
        if self.run.state() is State.FINISHED:
            return ExitCode.DONE
        self._begun = True
        shim, _ = begin_attempt(self.run, options)
        while shim.poll() is None:
            time.sleep(POLL_SECONDS)
        return self.exit_code()

    def exit_code(self) -> int:
        verdict = launch.verdict(self.run)
        return verdict.exit_code if verdict else ExitCode.PLUGIN_FAILED

    def pass_on(self, number: int) -> None:
        """To the shim, once it is there."""
        status = self._status()
        if status is not None and is_alive(status.shim):
            os.kill(status.shim.pid, number)

    def interrupt(self) -> None:
        """The run checkpoints, to be run again; returns when it has ended."""
        self.pass_on(signal.SIGUSR1)
        status = self._status()
        while status is not None and is_alive(status.shim):
            time.sleep(POLL_SECONDS)

    def _status(self) -> RunStatus | None:
        """Of this attempt, as its shim wrote it: a handler can't know how far `make` had got."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while self._begun and time.monotonic() < deadline:
            status = self.run.status()
            if status is not None and status.attempt > self._before and status.worker is not None:
                return status
            time.sleep(POLL_SECONDS)
        return None


def join_attempt(run: RunDir, options: AttemptOptions) -> int:
    """This machine's part of the attempt that meets at `options.rendezvous`, once that has begun on the first one; none
    of a run that is finished.

    Raises `UserError` if it does not within the time that ranks wait for each other.
    """
    deadline = time.monotonic() + options.patience_seconds
    while time.monotonic() < deadline:
        status = run.status()
        if run.state() is State.FINISHED:
            return ExitCode.DONE
        if status is not None and status.options.rendezvous == options.rendezvous and status.state not in ENDED:
            # A scheduler signals all machines of a job; the run hears it from the first, and ends here with the rest.
            signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
            return take_part(run, 0, print)
        time.sleep(POLL_SECONDS)
    raise UserError(f"run {run.id} did not begin on the first machine within {options.patience_seconds:.0f} s")


def _make_here(run: RunDir, options: AttemptOptions) -> int:
    attempt = Attempt(run)

    def handle(number: int, frame: FrameType | None) -> None:
        attempt.pass_on(number)

    for number in PASSED_ON:
        signal.signal(number, handle)
    return attempt.make(options)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rlhf_sdk.launching.job", description="Make a run's next attempt here.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--options", default="{}", help="AttemptOptions as JSON")
    parser.add_argument("--node", type=int, default=0, help="which of several machines this is; the first is 0")
    parser.add_argument("--rdzv", default="", help="where they meet, if not as in --options")
    parser.add_argument("--mirror", type=Path, help="folder that the run is fetched from, and copied to as it goes")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    given = parse_arguments(arguments)
    os.umask(PRIVATE_UMASK)
    scrub_standard_streams()
    run = RunDir(given.run.absolute())
    options = msgspec.json.decode(given.options, type=AttemptOptions)
    options = msgspec.structs.replace(options, rendezvous=given.rdzv or options.rendezvous)
    try:
        if given.node:
            return join_attempt(run, options)
        if given.mirror is None:
            return _make_here(run, options)
        with Mirror(run.path, given.mirror):
            return _make_here(run, options)
    except UserError as error:
        print(error, file=sys.stderr)
        return ExitCode.USER_ERROR


if __name__ == "__main__":
    raise SystemExit(main())
