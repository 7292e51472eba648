"""The contract between a trainer and the worker that runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from rlhf_sdk.events import CheckStatus, Example, MemoryRow, Severity

Metrics = Mapping[str, float]


class Run(Protocol):
    """What the worker gives a trainer. Everything a trainer says to the world goes through here."""

    @property
    def config(self) -> Any:
        """The plugin's validated config (an instance of `PluginSpec.config`), live values as they are now."""

    @property
    def seed(self) -> int: ...

    @property
    def directory(self) -> Path:
        """The run's directory; a trainer may write below `directory / "data"`, and nowhere else."""

    @property
    def step(self) -> int:
        """Finished steps."""

    def safe_point(self) -> None:
        """A place where the worker may pause, checkpoint or stop; call it between micro-batches.

        Where a run has several ranks, all must come by equally often.
        """

    def token_point(self) -> None:
        """As `safe_point`, between decode steps: ranks may differ in their number, so with several nothing is done."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Names what happens inside, for timing, memory attribution and OOM reports."""

    def progress(self, what: str, done: int, total: int | None = None) -> None: ...

    def sample(
        self,
        *,
        tag: str,
        index: int,
        prompt: str,
        response: str,
        reference: str | None = None,
        ended: bool = True,
        metrics: Metrics | None = None,
        token_ends: Sequence[int] = (),
        token_values: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """For the record; `Sample` says what the fields mean."""

    def alert(
        self,
        severity: Severity,
        code: str,
        message: str,
        advice: str = "",
        *,
        figures: Metrics | None = None,
        examples: Sequence[Example] = (),
    ) -> None:
        """`Alert` says what the fields mean."""

    def check(self, name: str, status: CheckStatus, figure: float, tolerance: float, explanation: str = "") -> None: ...

    def note(self, text: str) -> None: ...

    def out_of_memory(self, error: Exception, *, what: str, rows: int, smaller: int | None) -> None:
        """Memory ran out in `what` with `rows` rows at a time; the trainer tries again with `smaller`, or gives up."""

    def result(self, name: str, data: dict[str, Any]) -> None: ...

    def child(self, stage: str, run_id: str, state: str) -> None:
        """A run that this one started is now in `state`."""


class Runtime(Protocol):
    """What needs torch, supplied by the trainer, so that the worker stays free of it."""

    def start(self, seed: int) -> None:
        """Seeds every generator and fixes threads and determinism, once, before `Trainer.setup`."""

    def remember_rng(self) -> None:
        """Keeps every random state as it is now, at the beginning of a step, for `save_rng`."""

    def save_rng(self, directory: Path) -> None:
        """Writes what `remember_rng` kept last below `directory`."""

    def load_rng(self, directory: Path) -> None:
        """Puts every random state back to what `save_rng` wrote."""

    def memory(self) -> dict[str, int]:
        """Bytes now: `rss`; where there is a device `allocated`, `reserved`, `others` (not this process's), `limit`.

        `rss_peak` and `peak` (allocated) are the highest since the last `reset_peak`, where the system tells.
        """

    def reset_peak(self) -> None: ...

    def release_cache(self) -> None:
        """Between outermost phases: gives memory that is kept but not used back to the device, where that pays."""

    def memory_snapshot(self) -> dict[str, Any]:
        """What the allocator holds, as plain data for a report; empty where there is nothing to tell."""

    def is_out_of_memory(self, error: BaseException) -> bool: ...

    def environment(self) -> dict[str, str]:
        """Device, versions of libraries, thread count: what else the bits of a result depend on, once set up."""


class Trainer(Protocol):
    """One run of an algorithm. Built without arguments, in the worker process only."""

    runtime: Runtime | None
    total_steps: int

    def setup(self, run: Run) -> None:
        """Loads data and models; sets `total_steps`. May raise `UserError`."""

    def step(self) -> Metrics | None:
        """One update of the algorithm; None when there is nothing left to do."""

    def save(self, directory: Path) -> None:
        """Writes everything that `load` needs to go on bit for bit, except random states.

        Called between steps, and at a safe point inside one where `Interruptible.can_leave` says so.
        """

    def load(self, directory: Path) -> None: ...


@runtime_checkable
class ShardSaver(Protocol):
    """A trainer whose weights or moments are sharded over several ranks."""

    def save_shards(self, directory: Path) -> None:
        """Writes this rank's share into the folder that all ranks write to; called by all, before `save`.

        Files below `directory / "shards"`, named after the rank (`rlhf_sdk.shards.index`).
        """


class SampledResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy wrote when somebody asked, as `Run.sample` takes it."""

    prompt: str
    response: str
    reference: str | None = None
    ended: bool = True
    metrics: Metrics = {}


@runtime_checkable
class Sampler(Protocol):
    """A trainer that can show what its policy writes."""

    def sample(self, prompts: list[str]) -> list[SampledResponse]:
        """A response to each prompt; with no prompts, to the first few of the trainer's own.

        Called between steps, and at a safe point inside one where `Interruptible.can_leave` says so. It changes nothing
        that training depends on, random states included. May raise `UserError`.
        """


@runtime_checkable
class Reconfigurable(Protocol):
    """A trainer that keeps copies of live values (a learning rate, say), and wants to know when one changes."""

    def reconfigure(self, config: Any) -> None:
        """`config` holds from the next step on. May raise `UserError`: then the old one stays."""


@runtime_checkable
class Interruptible(Protocol):
    """A trainer that can be left inside a step, so that nobody waits for its end."""

    def can_leave(self) -> bool:
        """Whether a checkpoint taken at this safe point, inside a step or `finish`, loads into a state from which the
        step can be done again or gone on with, to the same bits.

        Random states, and the numbers of events and samples, are those of the beginning of the step: what the step has
        written so far will be written again.
        """


@runtime_checkable
class MemoryTeller(Protocol):
    """A trainer that knows what its roles keep in memory."""

    def memory_table(self) -> list[MemoryRow]:
        """Bytes of weights, gradients, optimizer state and experience, each storage once."""


@runtime_checkable
class PauseListener(Protocol):
    """A trainer with work of its own to hold (child runs, say): called when a pause begins and when it ends."""

    def paused(self) -> None: ...

    def resumed(self) -> None: ...


@runtime_checkable
class InterruptionListener(Protocol):
    """A trainer with work of its own to end (child runs, say) when the run must end early."""

    def interrupted(self) -> None:
        """Called after the checkpoint, inside a step or between two."""


@runtime_checkable
class Finisher(Protocol):
    """A trainer that has something left to do after its last step (a final evaluation, say)."""

    def finish(self) -> None: ...


class UserError(Exception):
    """The user's mistake: one clear message, exit code 2, no traceback."""


class DivergedError(Exception):
    """Training cannot go on (non-finite loss or gradient): exit code 4, the last good checkpoint stays."""


class RunFailure(Exception):
    """Ends the run with one clear message, no traceback, and an exit code of the trainer's choice."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(BaseException):
    """The run must end now. Not an `Exception`, so that it passes through handlers of errors.

    Raised by `Run.safe_point` during `setup`, and inside a step, after a checkpoint, where `Interruptible.can_leave`
    says so. A trainer may raise it too, to end as stopped with a reason.
    """
