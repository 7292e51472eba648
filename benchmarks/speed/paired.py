"""One stage on one model: its contenders in turns, A B A B, and the figures of all rounds."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.speed.pairing import ContenderFailed, Process, Turn, median, median_ratio
from benchmarks.speed.stages import TIME, Contender, Stage
from benchmarks.speed.task import Shape, Task

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
    if not material.exists():
        from benchmarks.speed.material import build_material

        build_material(material, shape)
    with ExitStack() as stack:
        processes: dict[str, Process] = {}
        chosen = [contender for contender in stage.contenders if not only or contender.name in only]
        for contender in [MACHINE, *chosen] if rates else chosen:
            try:
                process = stack.enter_context(Process(contender, _task(contender, measured, material)))
                process.wait_until_ready()
                processes[contender.name] = process
            except ContenderFailed as error:
                measured.failed[contender.name] = str(error)
        for turn in range(stage.warm_up + rounds):
            _round(processes, measured, measured.warm_up if turn < stage.warm_up else measured.turns)
    measured.seconds = time.monotonic() - began
    return measured


def _round(processes: dict[str, Process], measured: Measured, into: dict[str, list[Turn]]) -> None:
    measured.load.append(os.getloadavg()[0])
    for name in list(processes):
        try:
            into.setdefault(name, []).append(processes[name].turn())
        except ContenderFailed as error:
            measured.failed[name] = str(error)
            del processes[name]


def _rows(stage: Stage, shape: Shape) -> int:
    standard = shape.ppo_rows if stage.name.startswith("ppo") else shape.supervised_rows
    return stage.rows.get(shape.name, standard)


def _task(contender: Contender, measured: Measured, material: Path) -> Task:
    settings: dict[str, Any] = contender.settings
    return Task(
        work=contender.work,
        shape=measured.shape,
        folder=str(material),
        rows=measured.rows,
        threads=measured.threads,
        device=measured.device,
        precision=contender.precision,
        settings=settings,
    )
