"""One small parent for each run: starts the worker, samples the machine, and gives the verdict on how it ended.

`python -m rlhf_sdk.shim RUN_DIR NEWEST_ATTEMPT [OPTIONS]`, started by `launch` as the leader of a session of its own.
SIGHUP is ignored; SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 are passed on to the worker.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import msgspec
import psutil

from rlhf_sdk.alarms import Alarms
from rlhf_sdk.crash import write_crash
from rlhf_sdk.events import Alert, Finished, StateChanged, decode_event
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import PRIVATE_FILE, PRIVATE_UMASK, write_atomically
from rlhf_sdk.journal import LineFile
from rlhf_sdk.liveness import Silence, boot_id, host_name, identity_of, own_identity
from rlhf_sdk.machine import Machine
from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.ranked.starting import RankSignals, end_ranks, lost_rank_in_words, worker_command, worker_environment
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord, RunStatus, encode_record
from rlhf_sdk.scrubbing import Blotter, own_scrubber, scrub_standard_streams
from rlhf_sdk.states import LIVE, State, can_become, known_state
from rlhf_sdk.tail import Tail, last_lines
from rlhf_sdk.watchdog import Watchdog, newest_checkpoint_bytes
from rlhf_sdk.whereabouts import Whereabouts, directory_identity

SAMPLE_SECONDS = 1.0
FOLLOWS_PER_SAMPLE = 5
WRITE_ATTEMPTS = 60
LOCK_ATTEMPTS = 100
RESUME = "output.log may tell more; `rlhf resume` goes on from the last good checkpoint"
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
_BY_EXIT_CODE = {ExitCode.OUT_OF_MEMORY: State.OOM, ExitCode.REQUEUE: State.REQUEUED}


class AlreadyStarted(Exception):
    """Somebody else has started this attempt."""


class Shim:
    """Holds the run's lock for as long as it lives."""

    def __init__(self, run: RunDir, options: str) -> None:
        self.run, self._encoded = run, options
        self._options = msgspec.json.decode(options, type=AttemptOptions)
        self._whereabouts = Whereabouts(run.path)
        self._lock = os.open(run.lock, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE)
        self._ended = threading.Event()
        self._log = Blotter(run.log, own_scrubber())
        self._watchdog = Watchdog(psutil.virtual_memory().total)
        self._silence = Silence(run.heartbeat)

    def main(self, *, after: int) -> None:
        """One attempt, from the first `status.json` to `exit.json`.

        Raises `AlreadyStarted` if another shim is at work, or has been since attempt `after`.
        """
        self._take_lock()
        before = self.run.status()
        if (before.attempt if before else 0) != after:
            raise AlreadyStarted
        self.run.exit_file.unlink(missing_ok=True)
        self.status = RunStatus(
            state=State.STARTING,
            attempt=after + 1,
            started=time.time(),
            time=time.time(),
            host=host_name(),
            boot_id=boot_id(),
            shim=own_identity(),
            directory=directory_identity(self.run.path),
            options=self._options,
        )
        self._write_status()
        events = Tail(self.run.events_file, _noted)
        events.skip()
        worker = self._start_worker()
        self._watch(events)
        self._give_verdict(worker.returncode)

    def _take_lock(self) -> None:
        """Waits a little: the shim of the attempt before may be on its way out."""
        for _ in range(LOCK_ATTEMPTS):
            with suppress(BlockingIOError):
                return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(0.05)
        raise AlreadyStarted

    def _start_worker(self) -> subprocess.Popen[bytes]:
        arguments = ["--attempt", str(self.status.attempt), "--since", repr(self.status.started)]
        command = worker_command(self.run.path, self._options, [*arguments, "--options", self._encoded])
        environment = worker_environment(self._options)
        # The worker inherits the block and lifts it once it listens: a signal until then waits instead of killing it.
        signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, env=environment)
        self._rank_signals = RankSignals(self.run.path, self.status.attempt)
        for number in PASSED_ON:
            signal.signal(number, self._pass_on_to(worker))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        self.machine = Machine(self.run.path, worker.pid, self.status.attempt, ranks=self._options.ranks > 1)
        self.alarms = Alarms(self.run, self.status.attempt)
        self._change(worker=identity_of(worker.pid))
        threading.Thread(target=self._reap, args=(worker,), daemon=True).start()
        return worker

    def _pass_on_to(self, worker: subprocess.Popen[bytes]) -> Callable[[int, FrameType | None], None]:
        def handler(number: int, _frame: FrameType | None) -> None:
            if self._options.ranks == 1:
                worker.send_signal(number)
            else:
                self._rank_signals.send(number)

        return handler

    def _reap(self, worker: subprocess.Popen[bytes]) -> None:
        worker.wait()
        self._ended.set()

    def _watch(self, events: Tail[StateChanged | Alert | None]) -> None:
        samples = LineFile(self.run.machine_file)
        while True:
            self._sample(samples)
            self._log.blot()
            self.alarms.tell()
            for _ in range(FOLLOWS_PER_SAMPLE):
                self._follow(events)
                if self._ended.wait(SAMPLE_SECONDS / FOLLOWS_PER_SAMPLE):
                    return self._follow(events)

    def _sample(self, samples: LineFile) -> None:
        """A sample that can't be taken or finds the disk full is lost; the next may fare better."""
        try:
            sample = self.machine.sample()
            self._look(sample)
            samples.append(msgspec.json.encode(sample) + b"\n")
        except OSError as error:
            print(f"a machine sample was lost: {error}", file=sys.stderr)

    def _look(self, sample: MachineSample) -> None:
        silent = 0.0 if self.status.state is State.STARTING else self._silence.seconds()
        size = newest_checkpoint_bytes(self.run.checkpoints)
        for alert in self._watchdog.look(sample, silent_seconds=silent, checkpoint_bytes=size):
            self.alarms.give(alert)

    def _follow(self, events: Tail[StateChanged | Alert | None]) -> None:
        """Repeats in `status.json` what the worker says about itself, and tells its alerts."""
        said = [event for event in events if event is not None and event.attempt >= self.status.attempt]
        self._rank_signals.deliver()
        for event in said:
            if event.attempt > self.status.attempt:
                self._change(attempt=event.attempt, state=State.STARTING)
            if isinstance(event, Alert):
                self.alarms.hear(event)
                continue
            state = known_state(event.state)
            if state in LIVE and state is not self.status.state and can_become(self.status.state, state):
                self._change(state=state)

    def _give_verdict(self, returncode: int) -> None:
        self._log.blot()
        end_ranks(self.run.path)
        self.run = RunDir(self._whereabouts.find() or self.run.path)
        said = self.run.final_words(self.status.attempt)
        verdict = self._verdict(returncode, said)
        if said is None:
            self.alarms.give(Alert(severity="error", code=verdict.state, message=verdict.reason, advice=RESUME))
        self._change(state=verdict.state, reason=verdict.reason)
        if said is None and verdict.state in (State.FAILED, State.KILLED, State.OOM):
            write_crash(self.run, verdict, attempt=verdict.attempt)
        _write_persistently(self.run.exit_file, encode_record(verdict))
        self.alarms.end(verdict)

    def _verdict(self, returncode: int, said: tuple[State, Finished] | None) -> ExitRecord:
        state, exit_code, reason = self._judge(returncode, said)
        return ExitRecord(
            state=state,
            attempt=self.status.attempt,
            exit_code=exit_code,
            signal=-returncode if returncode < 0 else None,
            reason=reason,
            time=time.time(),
        )

    def _judge(self, returncode: int, said: tuple[State, Finished] | None) -> tuple[State, int, str]:
        if said is not None:
            return said[0], said[1].exit_code, said[1].reason
        if returncode < 0:
            return self._judge_signal(-returncode)
        state = _BY_EXIT_CODE.get(ExitCode(returncode), State.FAILED) if returncode in set(ExitCode) else State.FAILED
        lost = lost_rank_in_words(self.run.path, self._options)
        if lost:
            return state, ExitCode.PLUGIN_FAILED if state is State.FAILED else returncode, lost
        printed = last_lines(self.run.log, 1)
        reason = printed[0].decode(errors="replace") if printed else ""
        exited = f"the worker exited with code {returncode} without saying why"
        return state, returncode or ExitCode.PLUGIN_FAILED, f"{exited}; last output: {reason}" if reason else exited

    def _judge_signal(self, number: int) -> tuple[State, int, str]:
        name = signal.Signals(number).name
        if number == signal.SIGKILL and self.machine.kernel_killed():
            return State.OOM, 128 + number, f"killed by {name}: the kernel ran out of memory for this run"
        return State.KILLED, 128 + number, f"killed by {name}"

    def _change(self, **changes: object) -> None:
        self.status = msgspec.structs.replace(self.status, time=time.time(), **changes)
        self._write_status()

    def _write_status(self) -> None:
        _write_persistently(self.run.status_file, encode_record(self.status))


def _noted(line: bytes) -> StateChanged | Alert | None:
    """Other events are not decoded: there may be thousands a second."""
    event = decode_event(line) if b'"kind":"state"' in line or b'"kind":"alert"' in line else None
    return event if isinstance(event, StateChanged | Alert) else None


def _write_persistently(path: Path, data: bytes) -> None:
    """On a full disk tries again once a second for a minute; without its directory there is nothing to try."""
    for left in reversed(range(WRITE_ATTEMPTS)):
        try:
            return write_atomically(path, data)
        except OSError as error:
            if not left or error.errno == errno.ENOENT:
                raise
            time.sleep(1.0)
    return None


def main() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(PRIVATE_UMASK)
    scrub_standard_streams()
    run = RunDir(Path(sys.argv[1]).absolute())
    try:
        Shim(run, sys.argv[3] if len(sys.argv) > 3 else "{}").main(after=int(sys.argv[2]))
    except AlreadyStarted:
        print(f"run {run.id} was started by somebody else just now", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
