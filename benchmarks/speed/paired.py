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
from benchmarks.speed.stages import TIME, Contender, Stage
from benchmarks.speed.task import Shape, Task

Answer = TypeVar("Answer")
MACHINE = Contender(name="machine", work="rates:machine")


@dataclass
class Measured:
    """Turns by contender, those that count; `warm_up`: those before; `failed`: why one could not go on."""

    stage: Stage
    shape: Shape
    rows: int
    threads: int
    device: str
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    warm_up: dict[str, list[Turn]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def losses(self, name: str) -> list[float]:
        """Of all turns, those before counting too, in order; empty where a stage has none."""
        turns = (*self.warm_up.get(name, []), *self.turns.get(name, []))
        return [turn["figures"]["loss"] for turn in turns if "loss" in turn["figures"]]

    def rates(self) -> dict[str, float]:
        """The machine's, by name; empty where they were not measured."""
        found = [turn["figures"] for turn in self.turns.get(MACHINE.name, [])]
        return {key: median(found, key) for key in found[0]} if found else {}

    def text(self) -> str:
        """A line a contender."""
        rates = ", ".join(f"{name} {value:.0f}" for name, value in self.rates().items())
        lines = [f"{self.stage.title}, {self.shape.name}, {self.rows} rows; {self.seconds:.0f} s; {rates}"]
        lines += [f"  {name}: not measured: {reason}" for name, reason in self.failed.items()]
        for contender in self.stage.contenders:
            if contender.name in self.turns:
                lines.append(f"  {contender.name:<24}{self._line(contender)}")
        return "\n".join(lines)

    def _line(self, contender: Contender) -> str:
        turns, other = self.turns[contender.name], self.turns.get(contender.against)
        line = f"{median(turns, TIME):9.3f} CPU s {median(turns, 'wall_seconds'):9.3f} s"
        line += f"{median(turns, 'peak_mib'):7.0f} MiB (+{median(turns, 'peak_above_rest_mib'):.0f})"
        if other:
            line += f"  {median_ratio(other, turns, TIME):.2f}x {contender.against}"
            line += f", memory {median_ratio(turns, other, 'peak_mib'):.2f}"
        losses = " ".join(f"{loss:.5f}" for loss in self.losses(contender.name)[:3])
        return line + (f"  loss {losses}" if losses else "")


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
    measured = Measured(stage, shape, _rows(stage, shape), threads, device)
    material = folder / shape.name
    build_material(material, shape)
    chosen = [contender for contender in stage.contenders if not only or contender.name in only]
    with ExitStack() as stack:
        processes = _started([MACHINE, *chosen] if rates else chosen, measured, material, stack)
        for turn in range(stage.warm_up + rounds):
            _round(processes, measured, measured.warm_up if turn < stage.warm_up else measured.turns)
    measured.seconds = time.monotonic() - began
    return measured


def _started(
    contenders: Sequence[Contender], measured: Measured, material: Path, stack: ExitStack
) -> dict[str, Process]:
    """Those that are ready for their first turn."""
    processes: dict[str, Process] = {}
    for contender in contenders:
        try:
            processes[contender.name] = stack.enter_context(Process(contender, _task(contender, measured, material)))
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
    standard = shape.ppo_rows if stage.name.startswith("ppo") else shape.supervised_rows
    return stage.rows.get(shape.name, standard)


def _task(contender: Contender, measured: Measured, material: Path) -> Task:
    return Task(
        shape=measured.shape,
        folder=str(material),
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
