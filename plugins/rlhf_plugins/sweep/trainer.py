"""A sweep is a trainer whose step is a finished cell. Cells train in runs of their own, which outlive this process."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rlhf_plugins.sweep import SweepConfig
from rlhf_plugins.sweep.cells import cell_config, cell_provenance, check_cells, figures_of, processes_of
from rlhf_plugins.sweep.placed import PlacedCells
from rlhf_plugins.sweep.tables import findings
from rlhf_sdk import launch
from rlhf_sdk.commands import AnyCommand, Pause, Resume, Stop
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.launching import placing
from rlhf_sdk.launching.asking import chosen
from rlhf_sdk.launching.contract import LOCAL
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.slots import slot_count, slot_variables
from rlhf_sdk.states import RESUMABLE, State
from rlhf_sdk.trainer import Metrics, Run, RunFailure, UserError

POLL_SECONDS = 0.1
HOLD_SECONDS = 5.0
STATE_FILE = "sweep.json"
BROKEN = (State.FAILED, State.KILLED, State.OOM, State.LOST)
"""These are tried once more; a cell that somebody stopped is left alone."""


class SweepState(msgspec.Struct, frozen=True):
    """What each finished cell has reported."""

    finished: dict[str, dict[str, float]] = {}


@dataclass
class Cell:
    """A cell that has a slot; `said` is the state that was last reported."""

    run: RunDir
    slot: int
    said: str = ""


class SweepTrainer:
    """Keeps the slots busy, tries a broken cell once more, and goes on with what earlier attempts left unfinished."""

    runtime = None
    total_steps = 0

    def __init__(self) -> None:
        self.state = SweepState()
        self.at_work: dict[str, Cell] = {}
        self.waiting: deque[str] | None = None
        self.retried: set[str] = set()
        self.given_up: dict[str, str] = {}
        self.placed: PlacedCells | None = None

    def setup(self, run: Run) -> None:
        config: SweepConfig = run.config
        self.run, self.config, self.total_steps = run, config, len(config.cells)
        self.directory = RunDir(run.directory)
        check_cells(config)
        if (config.launcher, config.launcher_options) != (LOCAL.launcher, {}):
            self.placed = PlacedCells(chosen(config.launcher, config.launcher_options), config.slots)
        processes = self._options().processes or self._options().stage_processes
        self.slots = slot_count(config.slots, processes)
        self.variables = slot_variables(self.slots, processes)

    def step(self) -> Metrics | None:
        """Returns when one more cell has finished."""
        if self.waiting is None:
            self.waiting = self._unfinished()
        while True:
            self._fill(self.waiting)
            if not self.at_work:
                self._refuse_unfinished()
                return None
            for name in list(self.at_work):
                if self._has_finished(name, self.waiting):
                    self.run.result("sweep", findings(self.config.rows, self.state.finished))
                    return {"sweep/cells_finished": len(self.state.finished)}
            self.run.progress(f"{len(self.at_work)} at work, done", len(self.state.finished), self.total_steps)
            self.run.safe_point()
            time.sleep(POLL_SECONDS)

    def save(self, directory: Path) -> None:
        (directory / STATE_FILE).write_bytes(msgspec.json.encode(self.state))

    def load(self, directory: Path) -> None:
        self.state = msgspec.json.decode((directory / STATE_FILE).read_bytes(), type=SweepState)

    def can_leave(self) -> bool:
        """Cells' runs are found again, and gone on with, by whoever comes next."""
        return True

    def paused(self) -> None:
        """Returns when the cells are held too, or don't seem to want to."""
        self._ask(Pause(sender=self.directory.id))
        deadline = time.monotonic() + HOLD_SECONDS
        while self._any(State.RUNNING) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def resumed(self) -> None:
        self._ask(Resume(sender=self.directory.id))

    def interrupted(self) -> None:
        """Stops the cells, and returns when they have checkpointed."""
        self._ask(Stop(sender=self.directory.id))
        began = time.monotonic()
        while waited_for := [cell for cell in self.at_work.values() if not self._is_over(cell.run)]:
            self.run.progress(f"stopping {len(waited_for)} cells", int(time.monotonic() - began))
            time.sleep(POLL_SECONDS)
        for name, cell in self.at_work.items():
            self.run.child(name, cell.run.id, cell.run.state())

    def _unfinished(self) -> deque[str]:
        """Those that an earlier attempt left at work first: they have their slots already."""
        left = [name for name in self.config.cells if name not in self.state.finished]
        return deque(sorted(left, key=lambda name: not self._is_at_work(name)))

    def _is_at_work(self, name: str) -> bool:
        run = self._run_of(name)
        return run.record_file.exists() and run.state() is not State.CREATED and not _is_over(run)

    def _fill(self, waiting: deque[str]) -> None:
        if self.placed is not None:
            self._place(self.placed, waiting)
            return
        while waiting and len(self.at_work) < self.slots:
            name = waiting.popleft()
            taken = {cell.slot for cell in self.at_work.values()}
            slot = next(slot for slot in range(self.slots) if slot not in taken)
            try:
                self.at_work[name] = Cell(self._begun(name, slot), slot)
            except UserError as error:
                self._give_up(name, str(error))

    def _place(self, placed: PlacedCells, waiting: deque[str]) -> None:
        names = [waiting.popleft() for _ in range(placed.room(len(waiting), len(self.at_work)))]
        try:
            runs = [self._made(name) for name in names]
            placed.begin(runs, self._options())
        except UserError as error:
            for name in names:
                self._give_up(name, str(error))
        else:
            self.at_work |= {name: Cell(run, 0) for name, run in zip(names, runs, strict=True)}

    def _made(self, name: str) -> RunDir:
        return self._run_of(name) if self._run_of(name).record_file.exists() else self._create(name)

    def _begun(self, name: str, slot: int) -> RunDir:
        """The cell's run, started, gone on with, or as it is where it has ended or is at work."""
        run = self._made(name)
        state = run.state()
        if state is State.CREATED:
            launch.start(run, self._options(), self.variables[slot])
        elif state is State.PAUSED:
            launch.resume(run)
        elif state in RESUMABLE:
            launch.resume(run, self._options(), self.variables[slot])
        return run

    def _options(self) -> AttemptOptions:
        """Cells checkpoint as often as their sweep was told, with as many processes; its end, in time, is theirs."""
        status = self.directory.status()
        options = status.options if status else AttemptOptions()
        return processes_of(self.config.base.plugin, msgspec.structs.replace(options, max_seconds=0.0))

    def _run_of(self, name: str) -> RunDir:
        return RunDir(self.directory.root / f"{self.directory.id}.{name}")

    def _create(self, name: str) -> RunDir:
        own = self.directory.record()
        return launch.create_run(
            self.directory.root,
            plugin=self.config.base.plugin,
            config=cell_config(self.config, name),
            profile=own.profile,
            provenance=cell_provenance(own.provenance, name),
            strict=own.strict,
            pipeline=own.id,
            stage=name,
            argv=own.argv,
        )

    def _has_finished(self, name: str, waiting: deque[str]) -> bool:
        """Frees the slot of a cell that has ended, however that was."""
        cell = self.at_work[name]
        state = cell.run.state()
        if state != cell.said:
            self.run.child(name, cell.run.id, state)
            cell.said = state
        if not self._is_over(cell.run):
            return False
        verdict = launch.verdict(cell.run)
        state, reason = (verdict.state, verdict.reason) if verdict else (State.LOST, "no process and no verdict")
        self.run.child(name, cell.run.id, state)
        del self.at_work[name]
        if state is State.FINISHED:
            self.state = SweepState({**self.state.finished, name: figures_of(cell.run)})
            return True
        if state in BROKEN and name not in self.retried:
            self.retried.add(name)
            self.run.note(f"cell {name} {state}: {reason}; once more, from its last checkpoint")
            waiting.appendleft(name)
        else:
            self._give_up(name, f"{state}: {reason}")
        return False

    def _give_up(self, name: str, why: str) -> None:
        self.given_up[name] = why
        self.run.alert("error", "cell_failed", f"cell {name} {why}", "the sweep goes on with the others")

    def _refuse_unfinished(self) -> None:
        """Raises `RunFailure` if there are cells that did not finish: `rlhf resume` tries those again."""
        if self.given_up:
            told = "; ".join(f"{name} {why}" for name, why in self.given_up.items())
            reason = f"{len(self.given_up)} of {self.total_steps} cells did not finish: {told}"
            raise RunFailure(reason, exit_code=ExitCode.PLUGIN_FAILED)

    def _is_over(self, run: RunDir) -> bool:
        if self.placed is not None:
            return self.placed.is_over(run, [cell.run for cell in self.at_work.values()])
        return _is_over(run)

    def _any(self, state: State) -> bool:
        return any(cell.run.state() is state for cell in self.at_work.values())

    def _ask(self, command: AnyCommand) -> None:
        """Tells the cells that are at work; one that has just ended needs no telling."""
        for cell in self.at_work.values():
            with suppress(UserError):
                if not (isinstance(command, Stop) and placing.take_back(cell.run)):
                    launch.request(cell.run, command)


def _is_over(run: RunDir) -> bool:
    return launch.verdict(run) is not None or run.state() is State.LOST
