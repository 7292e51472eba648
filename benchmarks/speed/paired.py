"""One stage on one model: its contenders in turns, A B A B, and the figures of all rounds."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.speed.contender import ContenderFailed, Process, Turn
from benchmarks.speed.material import build_material
from benchmarks.speed.stages import Contender, Lengths, Stage
from benchmarks.speed.task import ENDS, TLDR, Shape, Task

Answer = TypeVar("Answer")
MACHINE = Contender(name="machine", work="rates:machine")
SHAPE_OF: dict[Lengths, Callable[[Shape], Shape]] = {
    "full": lambda shape: shape,
    "tldr": Shape.of_tldr_lengths,
    "ends": Shape.of_ending_responses,
}


@dataclass
class Measured:
    """Turns by contender, those that count; `warm_up`: those before; `failed`: why one could not go on."""

    stage: Stage
    shape: Shape
    material: Path
    rows: int
    threads: int
    device: str
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    warm_up: dict[str, list[Turn]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def model(self) -> str:
        return self.shape.name.removesuffix(TLDR).removesuffix(ENDS)

    def all_figures(self, name: str) -> list[dict[str, float]]:
        """What each turn of a contender told, those before counting too, in order."""
        return [turn["figures"] for turn in (*self.warm_up.get(name, []), *self.turns[name])]

    def rates(self) -> dict[str, float]:
        """The machine's, by name; empty where they were not measured."""
        found = [turn["figures"] for turn in self.turns.get(MACHINE.name, [])]
        return {key: median(found, key) for key in found[0]} if found else {}


def measure(
    stage: Stage,
    shape: Shape,
    folder: Path,
    *,
    rounds: int,
    threads: int,
    device: str,
    rates: bool,
    only: Sequence[str] | None = None,
) -> Measured:
    """All contenders (or `only` those named) of a stage; one that fails is left out, and says why.

    `rates`: the machine's are measured in turn with them.
    """
    began = time.monotonic()
    shape = SHAPE_OF[stage.lengths](shape)
    measured = Measured(stage, shape, folder / shape.name, _rows(stage, shape), threads, device)
    build_material(measured.material, shape)
    chosen = [contender for contender in stage.contenders_on(measured.model) if not only or contender.name in only]
    with ExitStack() as stack:
        processes = _started([MACHINE, *chosen] if rates else chosen, measured, stack)
        for turn in range(stage.warm_up + rounds):
            _round(processes, measured, measured.warm_up if turn < stage.warm_up else measured.turns)
    measured.seconds = time.monotonic() - began
    return measured


def _started(contenders: Sequence[Contender], measured: Measured, stack: ExitStack) -> dict[str, Process]:
    """Those that are ready for their first turn."""
    processes: dict[str, Process] = {}
    for contender in contenders:
        try:
            processes[contender.name] = stack.enter_context(Process(contender, task_of(contender, measured)))
        except ContenderFailed as error:
            measured.failed[contender.name] = str(error)
    _each(processes, measured, Process.wait_until_ready)
    return processes


def _round(processes: dict[str, Process], measured: Measured, into: dict[str, list[Turn]]) -> None:
    measured.load.append(os.getloadavg()[0])
    for name, turn in _each(processes, measured, Process.turn).items():
        into.setdefault(name, []).append(turn)


def _each(processes: dict[str, Process], measured: Measured, what: Callable[[Process], Answer]) -> dict[str, Answer]:
    """`what` of one after another; a process that fails is dropped, with all its turns."""
    found = {}
    for name in list(processes):
        try:
            found[name] = what(processes[name])
        except ContenderFailed as error:
            measured.failed[name] = str(error)
            measured.turns.pop(name, None)
            del processes[name]
    return found


def _rows(stage: Stage, shape: Shape) -> int:
    return stage.rows or (shape.ppo_rows if stage.name.startswith(("ppo", "rloo")) else shape.supervised_rows)


def task_of(contender: Contender, measured: Measured) -> Task:
    return Task(
        shape=measured.shape,
        folder=str(measured.material),
        rows=measured.rows,
        threads=measured.threads,
        device=measured.device,
        precision=contender.precision,
        settings=contender.settings,
    )


def median(turns: list[Turn], key: str) -> float:
    return float(statistics.median(turn[key] for turn in turns))


def median_ratio(theirs: list[Turn], ours: list[Turn], key: str) -> float:
    """Of the rounds' ratios: what they needed over what we needed."""
    return float(statistics.median(their[key] / our[key] for their, our in zip(theirs, ours, strict=True)))
