"""What a worker tells about memory: phases, the table of roles, alerts, and a report where memory ran out."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from rlhf_sdk.events import Alert, Event, MemoryRow, MemoryTable, PhaseEnded
from rlhf_sdk.files import make_private_directory, write_atomically
from rlhf_sdk.machine import Machine, memory_limit
from rlhf_sdk.memory_watch import MemoryWatch, advice_for
from rlhf_sdk.scrubbing import scrub
from rlhf_sdk.trainer import Runtime

Table = dict[tuple[str, str], int]

WHOLE_GRADIENTS = "optimizer"
"""The phase at whose beginning a step's gradients are all there."""
CHANGED = 0.01
STACK = 12
NOT_EVEN_ONE_ROW = (
    "not even one row at a time fits: shorten data.max_prompt_tokens or response_tokens, compute in bfloat16, turn "
    "gradient checkpointing on, train adapters, or take a smaller model; `rlhf plan` shows what each saves"
)


class MemoryMonitor:
    """`table_of` asks the trainer what its roles keep; None where it can't tell."""

    def __init__(self, directory: Path, runtime: Runtime | None, emit: Callable[[Event], None], attempt: int) -> None:
        self.table_of: Callable[[], list[MemoryRow]] | None = None
        self.advice = ""
        self._directory, self._runtime, self._emit, self._attempt = directory, runtime, emit, attempt
        self._watch = MemoryWatch(memory_limit())
        self._phases: list[PhaseEnded] = []
        self._table: Table = {}
        self._looked = False
        self._first_step = True
        self._reports = 0
        self._reported: int | None = None

    def phase_begins(self, name: str) -> None:
        if name == WHOLE_GRADIENTS and (self._first_step or not self._looked):
            self.look()

    def phase_ended(self, event: PhaseEnded) -> None:
        self._phases.append(event)
        self._emit(event)

    def look(self) -> None:
        """Tells the table of roles if it has changed."""
        if self._runtime is None or self.table_of is None:
            return
        self._looked = True
        rows = self.table_of()
        table: Table = {(row.role, row.kind): row.bytes for row in rows}
        if _differ(table, self._table):
            self._table = table
            self._emit(MemoryTable(rows=rows, unaccounted=_in_use(self._runtime.memory()) - sum(table.values())))

    def after_step(self, steps_to_go: int) -> None:
        if self._runtime is None:
            return
        if not self._looked:
            self.look()
        for alert in self._watch.observe(self._phases, self._runtime.memory(), steps_to_go=steps_to_go):
            self._emit(alert)
        self._phases.clear()
        self._looked = self._first_step = False

    def backed_off(self, error: BaseException, phase: str, *, what: str, rows: int, smaller: int | None) -> None:
        """Memory ran out in `what` with `rows` rows at a time; `smaller` are tried next, None: the trainer gives up."""
        report = self._report(error, phase, {"what": what, "rows": rows, "smaller": smaller})
        if smaller is None:
            self._reported = id(error)
            self.advice = f"{NOT_EVEN_ONE_ROW}{report}"
            return
        self._emit(
            Alert(
                severity="warning",
                code="out_of_memory_backed_off",
                message=f"out of memory in {phase or what} with {rows} rows at a time: goes on with {smaller}, and the "
                "result stays the same",
                advice=f"{advice_for(phase or what)}{report}",
                phase=phase,
                figures={"rows": rows, "smaller": smaller},
            )
        )

    def ran_out(self, error: BaseException, phase: str) -> str:
        """Reports what ended the run, where that has not been done; returns the advice."""
        if self._reported != id(error):
            self.advice = f"{advice_for(phase)}{self._report(error, phase, {})}"
        return self.advice

    def _report(self, error: BaseException, phase: str, more: dict[str, object]) -> str:
        """Writes `memory/oom-ATTEMPT-NUMBER.json` while the frames of `error` live; returns a clause that names it."""
        self._reports += 1
        path = self._directory / "memory" / f"oom-{self._attempt}-{self._reports}.json"
        with suppress(OSError, MemoryError):
            make_private_directory(path.parent)
            write_atomically(path, msgspec.json.encode(scrub(self._findings(error, phase) | more)))
            return f"; what was in memory is in memory/{path.name}"
        return ""

    def _findings(self, error: BaseException, phase: str) -> dict[str, object]:
        rows = self.table_of() if self.table_of is not None else []
        memory = dict(self._runtime.memory()) if self._runtime is not None else {}
        return {
            "time": time.time(),
            "phase": phase,
            "error": f"{type(error).__name__}: {error}",
            "stack": [str(frame) for frame in traceback.extract_tb(error.__traceback__)[-STACK:]],
            "memory": memory,
            "table": [msgspec.to_builtins(row) for row in rows],
            "unaccounted": _in_use(memory) - sum(row.bytes for row in rows),
            "allocator": self._runtime.memory_snapshot() if self._runtime is not None else {},
            "machine": msgspec.to_builtins(Machine(self._directory, os.getpid(), self._attempt).sample()),
        }


def _in_use(memory: dict[str, int]) -> int:
    return memory.get("allocated", memory.get("rss", 0))


def _differ(new: Table, old: Table) -> bool:
    """Whether a row came, went, or changed by more than 1 % of the whole."""
    least = CHANGED * sum(old.values())
    return new.keys() != old.keys() or any(abs(new[row] - old[row]) > least for row in new)
