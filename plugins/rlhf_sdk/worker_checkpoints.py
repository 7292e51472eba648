"""Which checkpoint an attempt begins from, when it writes new ones, and how many it keeps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rlhf_sdk.checkpoints import STATE_FILE, WorkerState, clean_leftovers, latest_good, read_state, write_checkpoint
from rlhf_sdk.environment import differences, environment_of
from rlhf_sdk.events import CheckpointSaved
from rlhf_sdk.files import make_private_directory
from rlhf_sdk.journal import Journal
from rlhf_sdk.live_values import with_value
from rlhf_sdk.pace import Pace
from rlhf_sdk.retention import prune, retention_of
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import ShardSaver, Trainer
from rlhf_sdk.worker_run import WorkerRun

RNG = "rng"


class WorkerCheckpoints:
    """Follows `checkpoint_every` (0 or absent: at the end only) and `Retention` of the config.

    `metrics` are those of the step before.
    """

    def __init__(self, directory: Path, journal: Journal, run: WorkerRun, trainer: Trainer, pace: Pace) -> None:
        self._directory, self._journal, self._run, self._trainer = directory, journal, run, trainer
        self._pace = pace
        self._newest_step: int | None = None
        self._seq = self._sample_seq = 0
        self._told_missing = ""
        self.finished = False
        self.metrics: Mapping[str, float | None] = {}
        self._environment_then: Mapping[str, str] = {}
        self.resumed_seq = self.resumed_sample_seq = 0

    def find(self) -> Path | None:
        """The newest good checkpoint; the run takes its step and live values. Damaged ones are named in alerts."""
        clean_leftovers(self._directory)
        found, problems = latest_good(self._directory)
        for name, problem in problems.items():
            instead = f"goes on from {found.name}" if found else "starts from the beginning"
            self._run.alert("warning", "checkpoint_damaged", f"{name} is damaged ({problem}): the run {instead}")
        if found is not None:
            self.take_over(read_state(found))
        return found

    def take_over(self, state: WorkerState) -> None:
        """Goes on from there, as far as the run itself is concerned."""
        self.metrics, self._environment_then = state.metrics, state.environment
        self._journal.step, self.finished = state.step, state.finished
        self._newest_step = state.step
        self.resumed_seq, self.resumed_sample_seq = state.seq, state.sample_seq
        for key, value in state.live_values.items():
            self._run.config = with_value(self._run.config, key, value)
        self._run.live_values = dict(state.live_values)

    def load(self, checkpoint: Path) -> None:
        """Puts the trainer and every random state back to where they were."""
        self._trainer.load(checkpoint)
        if self._trainer.runtime is not None:
            self._trainer.runtime.load_rng(self.rng_folder(checkpoint))
        differing = differences(environment_of(self._trainer.runtime), self._environment_then)
        if differing:
            message = f"goes on from {checkpoint.name} with {', '.join(differing)}: not to the same bits"
            self._run.alert("warning", "resume_not_exact", message, "the result is as good; only it can't be repeated")

    def rng_folder(self, checkpoint: Path) -> Path:
        """Where the random states of this process are."""
        return checkpoint / RNG

    def move(self, directory: Path) -> None:
        """Where checkpoints are written from now on."""
        self._directory = directory

    def begin_step(self) -> None:
        """Remembers what a checkpoint inside the step must keep: random states, numbers of events and samples."""
        self._seq, self._sample_seq = self._journal.seq, self._journal.sample_seq
        if self._trainer.runtime is not None:
            self._trainer.runtime.remember_rng()

    def periodic(self) -> None:
        if self.due():
            self.write("periodic")

    def due(self) -> bool:
        """Whether a checkpoint is due after the step that was just finished."""
        return self._pace.due(self._run.config, self._run.step)

    def write(self, reason: str) -> None:
        """A checkpoint of this step, unless there is one; answers commands that asked for it.

        Inside a step it takes the place of the one at its beginning.
        """
        if self._newest_step != self._run.step or self._run.inside_step:
            self.save(reason, finished=False)
        self._run.control.checkpointed(f"step-{self._run.step:08d}")

    def final(self) -> None:
        """The checkpoint of a run that is done, after the trainer's last touches."""
        self.save("final", finished=True)

    def save(self, reason: str, *, finished: bool) -> None:
        began = time.perf_counter()
        if not self._run.inside_step:
            self.begin_step()
        self._journal.sync()
        saved = self.write_files(finished=finished)
        self._newest_step = self._run.step
        self._pace.checkpointed()
        size = sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())
        seconds = time.perf_counter() - began
        self._run.emit(CheckpointSaved(name=saved.name, bytes=size, seconds=seconds, reason=reason))
        self._journal.sync()
        retention = retention_of(self._run.config)
        self._tell_of_missing_figure(saved.name, retention.metric)
        prune(saved, retention)

    def write_files(self, *, finished: bool) -> Path:
        return write_checkpoint(self._directory, self._run.step, lambda folder: self.fill(folder, finished=finished))

    def _tell_of_missing_figure(self, name: str, metric: str) -> None:
        """Once an attempt: a metric that is misspelt would never keep anything."""
        if metric and self.metrics and metric not in {*self.metrics, self._told_missing}:
            self._told_missing = metric
            message = (
                f"{name} has no figure {metric!r} (keep_best), so it can't be the best.{nearest(metric, self.metrics)}"
            )
            self._run.alert("info", "keep_best_without_figure", message)

    def save_shards(self, folder: Path) -> None:
        if isinstance(self._trainer, ShardSaver):
            self._trainer.save_shards(folder)

    def fill(self, folder: Path, *, finished: bool) -> None:
        """All of a checkpoint but its manifest."""
        with self._run.phase("checkpoint"):
            self.save_shards(folder)
            self._trainer.save(folder)
            if self._trainer.runtime is not None:
                make_private_directory(folder / RNG)
                self._trainer.runtime.save_rng(folder / RNG)
        state = WorkerState(
            step=self._run.step,
            seq=self._seq,
            sample_seq=self._sample_seq,
            attempt=self._journal.attempt,
            finished=finished,
            live_values=self._run.live_values,
            metrics=self.metrics,
            environment=environment_of(self._trainer.runtime),
        )
        (folder / STATE_FILE).write_bytes(msgspec.json.encode(state))
