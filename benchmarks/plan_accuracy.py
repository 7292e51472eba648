"""The memory plan against what updates really allocate: trainers, layouts, families, precisions and sizes on a CPU."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import logging

from benchmarks.memory_meter import counted_peak, live_bytes, peaks_by_phase
from benchmarks.plan_cases import Case, Size
from benchmarks.plan_updates import UPDATES
from benchmarks.record import record
from benchmarks.tiny_models import saved_models
from rlhf_engine.config import Architecture
from rlhf_engine.memory_rows import ALWAYS, FRAMEWORK_BYTES, PEAK, MemoryRow

FAMILIES: tuple[Architecture, ...] = ("llama", "gpt_neox", "gpt2")
SMALL = "small"
WITH_PROBE = ("PPO separate, probe",)
SIZES = {
    SMALL: Size(hidden=128, layers=3, heads=4, kv_heads=2, intermediate=512, vocabulary=1024, prompt=64, response=16),
    "larger": Size(
        hidden=192, layers=3, heads=6, kv_heads=6, intermediate=528, vocabulary=4096, prompt=72, response=32
    ),
}
"""The second has as many key heads as heads, a narrow MLP, and a vocabulary whose gradients weigh."""


@dataclass(frozen=True)
class Found:
    """Bytes at the busiest moment of an update and of each phase; what torch itself occupies is left out.

    `counted` is of live tensors alone, as `memory_budget_gib` counts them.
    """

    trainer: str
    case: str
    planned: int
    measured: int
    counted: int
    phases: dict[str, tuple[int, int]]

    @property
    def error(self) -> float:
        return self.planned / self.measured - 1


def cases(trainers: Sequence[str] = tuple(UPDATES), sizes: Sequence[str] = tuple(SIZES)) -> Iterator[Case]:
    """Every combination; variants of a trainer (LoRA, several heads) in the small size alone."""
    for trainer, family, size in itertools.product(trainers, FAMILIES, sizes):
        if "," in trainer and size != SMALL:
            continue
        for bf16, checkpointing in itertools.product((False, True), (False, True)):
            yield Case(trainer, family, size, SIZES[size], bf16=bf16, gradient_checkpointing=checkpointing)


def compare(case: Case) -> Found:
    """The second update: weights, moments, and what is allocated on top; what others hold in this process left out."""
    others = live_bytes()
    with saved_models(case.init, case.size.vocabulary, case.heads) as folder:
        prepared = UPDATES[case.trainer](case, folder)
        prepared.update()
        measured = {name: peak - others for name, peak in peaks_by_phase(prepared.update).items()}
        counted = counted_peak(prepared.update) - others
        planned = by_phase(prepared.rows)
        del prepared
    phases = {name: (planned[name], measured[name]) for name in planned if name in measured}
    return Found(case.trainer, case.name, max(planned.values()), max(measured.values()), counted, phases)


def by_phase(rows: Sequence[MemoryRow]) -> dict[str, int]:
    """Bytes in each phase, with what always stays, without the framework."""
    always = sum(row.bytes for row in rows if row.phase == ALWAYS) - FRAMEWORK_BYTES
    phases = dict.fromkeys((row.phase for row in rows if row.phase != ALWAYS), always)
    for row in rows:
        if row.phase != ALWAYS and row.what != PEAK:
            phases[row.phase] += row.bytes
    return phases


def main() -> None:
    measure("plan_accuracy", [trainer for trainer in UPDATES if trainer not in WITH_PROBE])


def with_probe() -> None:
    measure("plan_accuracy_probe", WITH_PROBE)


def measure(name: str, trainers: Sequence[str]) -> None:
    """Every case of these trainers, recorded under `name`."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    found = []
    for case in cases(trainers):
        found.append(compare(case))
        print(_line(found[-1]), flush=True)
    record(name, {"trainers": table(found), "cases": [_plain(one) for one in found]})
    for trainer, spread in table(found).items():
        print(f"| {trainer} | {spread['cases']} | {spread['lowest']:+.1%} to {spread['highest']:+.1%} |")


def table(found: Sequence[Found]) -> dict[str, dict[str, float]]:
    """By trainer: how many cases, and the lowest and highest error."""
    spreads = {}
    for trainer in dict.fromkeys(one.trainer for one in found):
        errors = [one.error for one in found if one.trainer == trainer]
        spreads[trainer] = {"cases": len(errors), "lowest": round(min(errors), 4), "highest": round(max(errors), 4)}
    return spreads


def _line(found: Found) -> str:
    phases = ", ".join(f"{name} {planned / measured - 1:+.0%}" for name, (planned, measured) in found.phases.items())
    return f"{found.case:<56} {found.measured / 2**20:7.1f} MiB {found.error:+6.1%}  ({phases})"


def _plain(found: Found) -> dict[str, Any]:
    return {
        "case": found.case,
        "measured_mib": round(found.measured / 2**20, 1),
        "error": round(found.error, 3),
        "phases": {name: round(planned / measured - 1, 2) for name, (planned, measured) in found.phases.items()},
    }
