"""A pipeline is a trainer whose step is a stage. Stages train in runs of their own, which outlive this process."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import msgspec

from rlhf_plugins.pipeline import PipelineConfig
from rlhf_plugins.pipeline.links import check_stages, linked_config, reused_runs
from rlhf_sdk import launch
from rlhf_sdk.commands import AnyCommand, Pause, Resume, Stop
from rlhf_sdk.discovery import load_spec
from rlhf_sdk.events import Event, MetricsLogged, Started
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord
from rlhf_sdk.states import RESUMABLE, State
from rlhf_sdk.tail import Tail
from rlhf_sdk.trainer import Interrupted, Metrics, Run, RunFailure, UserError

POLL_SECONDS = 0.1
HOLD_SECONDS = 5.0
STATE_FILE = "pipeline.json"


class PipelineState(msgspec.Struct, frozen=True):
    """Which run did each stage that is finished."""

    finished: dict[str, str] = {}


class PipelineTrainer:
    """Starts the stages' runs, waits for them, and goes on with the one that an earlier attempt left unfinished."""

    runtime = None
    total_steps = 0

    def __init__(self) -> None:
        self.state = PipelineState()
        self.child: RunDir | None = None

    def setup(self, run: Run) -> None:
        config: PipelineConfig = run.config
        self.run, self.config, self.total_steps = run, config, len(config.stages)
        self.directory = RunDir(run.directory)
        check_stages(config)
        self.reused = reused_runs(self.directory.root, config)

    def step(self) -> Metrics | None:
        remaining = [name for name in self.config.stages if name not in self.state.finished]
        if not remaining:
            return None
        stage = remaining[0]
        run = self.reused.get(stage)
        if run is not None:
            self.run.child(stage, run.id, State.FINISHED)
        else:
            run = self._do(stage)
        self.state = PipelineState({**self.state.finished, stage: run.id})
        return {"pipeline/stages_finished": len(self.state.finished)}

    def save(self, directory: Path) -> None:
        (directory / STATE_FILE).write_bytes(msgspec.json.encode(self.state))

    def load(self, directory: Path) -> None:
        self.state = msgspec.json.decode((directory / STATE_FILE).read_bytes(), type=PipelineState)

    def can_leave(self) -> bool:
        """A stage's run is found again, and gone on with, by whoever comes next."""
        return True

    def paused(self) -> None:
        """Returns when the stage is held too, or doesn't seem to want to."""
        self._ask(Pause(sender=self.directory.id))
        deadline = time.monotonic() + HOLD_SECONDS
        while self.child is not None and self.child.state() is State.RUNNING and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def resumed(self) -> None:
        self._ask(Resume(sender=self.directory.id))

    def _do(self, stage: str) -> RunDir:
        """Runs a stage to its end; returns its finished run."""
        child = self.child = self._find_child(stage) or self._create_child(stage)
        state = child.state()
        if state is State.CREATED:
            launch.start(child, self._options(stage))
        elif state is State.PAUSED:
            launch.resume(child)
        elif state in RESUMABLE:
            launch.resume(child, self._options(stage))
        try:
            verdict = self._wait(stage, child)
        except Interrupted:
            self._stop(stage, child)
            raise
        finally:
            self.child = None
        return self._finished(stage, child, verdict)

    def _options(self, stage: str) -> AttemptOptions:
        """Stages checkpoint as often as their pipeline was told to; its end, in time, is theirs. Those that can have as
        many processes as it was told.
        """
        status = self.directory.status()
        options = status.options if status else AttemptOptions()
        ranked = "ranks" in load_spec(self.config.stages[stage].plugin).capabilities
        processes = options.stage_processes if ranked else 0
        return msgspec.structs.replace(options, max_seconds=0.0, processes=processes, stage_processes=0)

    def _find_child(self, stage: str) -> RunDir | None:
        """The stage's run, if an earlier attempt at this pipeline made it."""
        child = RunDir(self.directory.root / f"{self.directory.id}.{stage}")
        return child if child.record_file.exists() else None

    def _create_child(self, stage: str) -> RunDir:
        own, prefix = self.directory.record(), f"stages.{stage}.config."
        return launch.create_run(
            self.directory.root,
            plugin=self.config.stages[stage].plugin,
            config=linked_config(self.config.stages[stage], self.state.finished),
            profile=own.profile,
            provenance={k.removeprefix(prefix): v for k, v in own.provenance.items() if k.startswith(prefix)},
            strict=own.strict,
            pipeline=own.id,
            stage=stage,
            argv=own.argv,
        )

    def _wait(self, stage: str, child: RunDir) -> ExitRecord | None:
        """Until the stage's run has ended; None if it was lost. Reports its state and how far it is."""
        events, said, total = child.events(), "", None
        while (verdict := launch.verdict(child)) is None:
            self.run.safe_point()
            state = child.state()
            if state is State.LOST:
                return None
            if state != said:
                self.run.child(stage, child.id, state)
                said = state
            total = self._report(stage, events, total)
            time.sleep(POLL_SECONDS)
        self.run.child(stage, child.id, verdict.state)
        return verdict

    def _report(self, stage: str, events: Tail[Event], total: int | None) -> int | None:
        for event in events:
            if isinstance(event, Started):
                total = event.total_steps
            if isinstance(event, MetricsLogged):
                self.run.progress(stage, event.step, total)
        return total

    def _finished(self, stage: str, child: RunDir, verdict: ExitRecord | None) -> RunDir:
        what = f"stage {stage} (run {child.id})"
        if verdict is None:
            raise RunFailure(f"{what} was lost: no process and no verdict", exit_code=ExitCode.PLUGIN_FAILED)
        if verdict.state in (State.STOPPED, State.RELEASED, State.REQUEUED):
            raise Interrupted(f"{what}: {verdict.reason}")
        if verdict.state is not State.FINISHED:
            raise RunFailure(f"{what} {verdict.state}: {verdict.reason}", exit_code=verdict.exit_code)
        return child

    def _ask(self, command: AnyCommand) -> None:
        """Tells the stage that is at work; one that has just ended needs no telling."""
        if self.child is not None:
            with suppress(UserError):
                launch.request(self.child, command)

    def _stop(self, stage: str, child: RunDir) -> None:
        """Stops the stage's run and waits until it has checkpointed."""
        self._ask(Stop(sender=self.directory.id))
        began = time.monotonic()
        while (verdict := launch.verdict(child)) is None and child.state() is not State.LOST:
            self.run.progress(f"stopping {stage}", int(time.monotonic() - began))
            time.sleep(POLL_SECONDS)
        self.run.child(stage, child.id, verdict.state if verdict else State.LOST)
