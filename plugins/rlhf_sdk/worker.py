"""The process that runs a trainer: `python -m rlhf_sdk.worker RUN_DIR`. Torch-free; what needs torch is the trainer's.

Signals: SIGTERM and SIGINT checkpoint as soon as the trainer can be left, and end as stopped (exit 128 + n, as a stop
command does with n = 15); SIGUSR1 checkpoints and ends as requeued (exit 75); SIGUSR2 checkpoints and goes on; a second
SIGINT ends at once; SIGHUP is ignored.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from msgspec import structs

from rlhf_sdk.config_errors import convert_config
from rlhf_sdk.crash import write_crash
from rlhf_sdk.discovery import load_attribute, load_spec
from rlhf_sdk.events import Alert, Finished, MetricsLogged, Note, Started, StateChanged
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import PRIVATE_UMASK
from rlhf_sdk.journal import Journal, last_attempt
from rlhf_sdk.live_values import values_to_repeat
from rlhf_sdk.pace import AttemptOptions, Pace
from rlhf_sdk.references import resolve
from rlhf_sdk.reserve import make_reserve, release_reserve
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.scrubbing import scrub_standard_streams
from rlhf_sdk.spec import PluginSpec
from rlhf_sdk.states import State
from rlhf_sdk.trainer import (
    DivergedError,
    Finisher,
    Interrupted,
    Interruptible,
    InterruptionListener,
    MemoryTeller,
    PauseListener,
    Trainer,
)
from rlhf_sdk.verdict import Verdict, failed_check_in_words, verdict_of
from rlhf_sdk.vote_sources import VoteFiles
from rlhf_sdk.worker_checkpoints import WorkerCheckpoints
from rlhf_sdk.worker_control import Control
from rlhf_sdk.worker_requests import Requests
from rlhf_sdk.worker_run import WorkerRun

NO_OPTIONS = AttemptOptions()


class Worker:
    """One attempt at a run."""

    run_type: ClassVar[type[WorkerRun]] = WorkerRun
    trainer: Trainer | None = None
    run: WorkerRun | None = None
    broken_phase = ""

    def __init__(self, directory: RunDir, *, attempt: int, since: float, options: AttemptOptions = NO_OPTIONS) -> None:
        self.directory, self.options = directory, options
        self.journal = self.new_journal(attempt)
        self.control = self.new_control(since)
        if options.max_seconds:
            already = time.time() - since if since else 0.0
            self.control.end_after(options.max_seconds, already=already)

    def new_journal(self, attempt: int) -> Journal:
        return Journal(self.directory.events_file, self.directory.samples_file, attempt=attempt)

    def new_control(self, since: float) -> Control:
        return Control(self.directory.commands, self.journal.event, since=since)

    def new_run(self, **parts: Any) -> WorkerRun:
        return self.run_type(self.directory, **parts)

    def new_checkpoints(self, run: WorkerRun, trainer: Trainer) -> WorkerCheckpoints:
        return WorkerCheckpoints(self.directory.checkpoints, self.journal, run, trainer, Pace(self.options))

    def main(self) -> int:
        """Runs to an end of whatever kind, records it, and returns the exit code."""
        failure: BaseException | None = None
        try:
            self.control.install_signal_handlers()
            make_reserve(self.directory.path)
            self.journal.event(StateChanged(state=State.STARTING))
            verdict = self.attempt()
        except BaseException as error:
            verdict, failure = self.verdict(error), error
        release_reserve(self.directory.path)
        self.record(verdict)
        if verdict.state in (State.FAILED, State.OOM):
            write_crash(self.directory, verdict, attempt=self.journal.attempt, phase=self.broken_phase, error=failure)
        self.journal.close()
        if self.run is not None:
            self.run.close()
        return verdict.exit_code

    def attempt(self) -> Verdict:
        self.journal.refuse_newer()
        record = self.directory.record()
        spec = load_spec(record.plugin)
        config = convert_config(self._resolved(record.config), spec.config)
        self.trainer = load_attribute(spec.trainer)()
        self.run = self.new_run(
            config=config,
            seed=record.seed,
            runtime=self.trainer.runtime,
            journal=self.journal,
            control=self.control,
        )
        self.checkpoints = self.new_checkpoints(self.run, self.trainer)
        self.run.move = self._move
        try:
            return self._train(spec, self.run, self.trainer)
        except Interrupted as interruption:
            if isinstance(self.trainer, InterruptionListener):
                self.trainer.interrupted()
            return self._leave(self.run, str(interruption))

    def _resolved(self, config: dict[str, Any]) -> dict[str, Any]:
        votes = VoteFiles(self.directory.path / "data")
        resolved = resolve(self.directory.root, config, votes)
        for text in votes.notes:
            self.journal.event(Note(text=text))
        return resolved

    def _move(self, place: Path) -> None:
        """The run's directory is in another place now."""
        self.directory = RunDir(place)
        self.control.move(self.directory.commands)
        self.checkpoints.move(self.directory.checkpoints)

    def _train(self, spec: PluginSpec, run: WorkerRun, trainer: Trainer) -> Verdict:
        self._prepare(spec, run, trainer)
        if not self.checkpoints.finished:
            while self._step(run, trainer):
                self._end_if_strict(run)
                self.checkpoints.periodic()
            if isinstance(trainer, Finisher):
                with self.inside_step(run):
                    trainer.finish()
                self._end_if_strict(run)
            if "checkpoint" in spec.capabilities:
                self.checkpoints.final()
        return Verdict(State.FINISHED, ExitCode.DONE, "")

    def _prepare(self, spec: PluginSpec, run: WorkerRun, trainer: Trainer) -> None:
        self.start_runtime(spec, run, trainer)
        found = self.checkpoints.find() if "checkpoint" in spec.capabilities else None
        repeats = values_to_repeat(self.directory.events_file, after=self.checkpoints.resumed_seq)
        requests = Requests(run, spec, trainer, repeats)
        self.control.check = requests.check
        self.set_up(run, trainer)
        run.interruptible = trainer if isinstance(trainer, Interruptible) else None
        run.pause_listener = trainer if isinstance(trainer, PauseListener) else None
        run.memory.table_of = trainer.memory_table if isinstance(trainer, MemoryTeller) else None
        if found is not None:
            self.checkpoints.load(found)
        if "checkpoint" in spec.capabilities:
            run.checkpoint = self.checkpoints.write
        run.emit(
            Started(
                plugin=spec.name,
                total_steps=trainer.total_steps,
                resumed_from=found.name if found else None,
                resumed_seq=self.checkpoints.resumed_seq,
                resumed_sample_seq=self.checkpoints.resumed_sample_seq,
            )
        )
        run.attend = requests.attend
        run.enter(State.RUNNING)

    def start_runtime(self, spec: PluginSpec, run: WorkerRun, trainer: Trainer) -> None:
        if trainer.runtime is not None:
            trainer.runtime.start(run.seed)

    def set_up(self, run: WorkerRun, trainer: Trainer) -> None:
        trainer.setup(run)

    def _step(self, run: WorkerRun, trainer: Trainer) -> bool:
        """One step; False when there is nothing left to do."""
        run.safe_point()
        began = run.clock()
        with self.inside_step(run):
            metrics = trainer.step()
        if metrics is None:
            return False
        self.journal.step += 1
        values = {name: float(value) for name, value in metrics.items()}
        self.checkpoints.metrics = values
        run.emit(MetricsLogged(values=values, seconds=run.clock() - began))
        run.memory.after_step(trainer.total_steps - self.journal.step)
        return True

    @contextmanager
    def inside_step(self, run: WorkerRun) -> Iterator[None]:
        """After an error the trainer is still where it was."""
        self.checkpoints.begin_step()
        run.inside_step = True
        yield
        run.inside_step = False

    def _end_if_strict(self, run: WorkerRun) -> None:
        """Raises `DivergedError`, after a checkpoint, where a light has failed in a strict run."""
        if run.failed_check is None or not self.directory.record().strict:
            return
        reason = failed_check_in_words(run.failed_check)
        if run.checkpoint is not None:
            run.checkpoint(reason)
        raise DivergedError(reason)

    def _leave(self, run: WorkerRun, said: str) -> Verdict:
        """Ends early; where the trainer itself wished to, with a checkpoint if it can be left."""
        if self.control.ending is not None:
            return self.control.ending
        ending = Verdict(State.STOPPED, 128 + signal.SIGTERM, said or "stopped by the trainer")
        if run.checkpoint is not None and run.can_leave():
            run.checkpoint(ending.reason)
        return ending

    def verdict(self, error: BaseException) -> Verdict:
        self.broken_phase = self.run.broken_phase if self.run else ""
        verdict = verdict_of(error, self.trainer.runtime if self.trainer else None, self.broken_phase)
        if verdict.code in ("plugin_failed", "out_of_memory"):
            traceback.print_exception(error)
        if verdict.state is State.OOM and self.run is not None:
            verdict = structs.replace(verdict, advice=self.run.memory.ran_out(error, self.broken_phase))
            traceback.clear_frames(error.__traceback__)
            self._save_what_there_is(self.run, verdict.reason)
        return verdict

    def _save_what_there_is(self, run: WorkerRun, reason: str) -> None:
        """A checkpoint where the trainer can be left; without one the end stays the same."""
        try:
            if run.checkpoint is not None and run.can_leave():
                run.checkpoint(reason)
        except Exception:
            traceback.print_exc()

    def record(self, verdict: Verdict) -> None:
        """The last words. What can't be written is at least printed, for the shim to find."""
        try:
            self.control.ignore_the_rest(f"the run ended: {verdict.state}", left=verdict is self.control.ending)
            if verdict.code:
                alert = Alert(severity="error", code=verdict.code, message=verdict.reason, advice=verdict.advice)
                self.journal.event(alert)
            self.journal.event(StateChanged(state=verdict.state, reason=verdict.reason))
            self.journal.event(Finished(exit_code=verdict.exit_code, reason=verdict.reason))
            self.journal.sync()
        except OSError as error:
            print(f"the end could not be recorded: {error}", file=sys.stderr)
        if verdict.reason:
            print(verdict.reason, file=sys.stderr)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rlhf_sdk.worker", description="Run a trainer in a run directory.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--attempt", type=int, help="default: one more than the newest in events.jsonl")
    parser.add_argument("--since", type=float, default=0.0, help="ignore commands given before this Unix time")
    parser.add_argument("--options", default="{}", help="AttemptOptions as JSON")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None, *, kind: type[Worker] = Worker) -> None:
    options = parse_arguments(arguments)
    os.umask(PRIVATE_UMASK)
    scrub_standard_streams()
    faulthandler.enable()
    directory = RunDir(options.run.absolute())
    attempt_options = msgspec.json.decode(options.options, type=AttemptOptions)
    attempt = options.attempt or last_attempt(directory.events_file) + 1
    try:
        code = kind(directory, attempt=attempt, since=options.since, options=attempt_options).main()
    except OSError as error:
        print(f"the run directory can't be used: {error}", file=sys.stderr)
        code = ExitCode.USER_ERROR
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written: nothing that a library does on the way out may change the verdict.
    os._exit(code)


if __name__ == "__main__":
    main()
