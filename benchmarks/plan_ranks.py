"""The plan of one rank against ranks that train together by gloo: bytes held, bytes sent, and the peak of memory."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from transformers.utils import logging

from benchmarks.memory_meter import live_bytes, peaks_by_phase
from benchmarks.plan_accuracy import SIZES, SMALL, by_phase
from benchmarks.plan_cases import HOOKS, Case, Prepared
from benchmarks.plan_updates import UPDATES
from benchmarks.record import record
from benchmarks.tiny_models import saved_models
from benchmarks.wire_meter import WORDS, Sent, WireMeter
from rlhf_engine.config import Architecture, ShardingLayout
from rlhf_engine.memory_rows import ALWAYS
from rlhf_engine.ranked_plan.traffic import JOINS
from rlhf_engine.ranks import ALONE, ProcessGroupRanks, Ranks
from rlhf_engine.sharding.state import local

LAYOUTS: tuple[ShardingLayout, ...] = ("ddp", "zero-1", "zero-2", "zero-3")
TRAINERS = ("SFT", "RM", "DPO", "RLOO", "PPO separate", "PPO shared_trunk", "PPO adapters")
KINDS = {"weights": "weights", "Adam moments": "moments", "gradients": "gradients"}

MEASURED: dict[int, list[tuple[str, Architecture]]] = {
    2: [("SFT", "llama"), ("PPO separate", "llama"), *((trainer, "gpt_neox") for trainer in TRAINERS)],
    4: [("SFT", "gpt_neox"), ("PPO separate", "gpt_neox")],
}
"""Trainers and families by number of ranks."""

Held = dict[str, dict[str, int]]
"""Bytes by role and kind."""


@dataclass(frozen=True)
class RankedCase:
    """A trainer's update on so many ranks."""

    trainer: str
    family: Architecture
    ranks: int
    sharding: ShardingLayout
    checkpointing: bool = False

    @property
    def name(self) -> str:
        checkpointing = ", checkpointing" if self.checkpointing else ""
        return f"{self.trainer}, {self.family}, {self.ranks} ranks, {self.sharding}{checkpointing}"

    def of(self, ranks: Ranks) -> Case:
        """The case that each rank works on."""
        return Case(
            trainer=self.trainer,
            family=self.family,
            size_name=SMALL,
            size=SIZES[SMALL],
            bf16=False,
            gradient_checkpointing=self.checkpointing,
            ranks=ranks,
            sharding=self.sharding,
        )


@dataclass(frozen=True)
class OneRank:
    """What the plan of a rank says, and what was counted: bytes held by role, sent, and at the peak of each phase."""

    planned_held: Held
    held: Held
    planned_sent: Sent
    sent: Sent
    planned_peaks: dict[str, int]
    peaks: dict[str, int]

    @property
    def error(self) -> float:
        """Of the peak."""
        return max(self.planned_peaks.values()) / max(self.peaks.values()) - 1

    @property
    def peaks_mib(self) -> float:
        """The highest."""
        return max(self.peaks.values()) / 2**20

    @property
    def holds_as_planned(self) -> bool:
        """No more in any role and kind; in zero-1 the plan is of the rank that has most."""
        return all(
            count == self.planned_held[role][kind] or (kind == "moments" and count < self.planned_held[role][kind])
            for role, kinds in self.held.items()
            for kind, count in kinds.items()
        )

    @property
    def sends_as_planned(self) -> bool:
        """What ranks tell one another beside (sums for metrics, figures of pairs) left out."""
        return {key: count for key, count in self.sent.items() if not is_word(*key)} == dict(self.planned_sent)


FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["benchmarks.plan_updates"])


def is_word(phase: str, what: str) -> bool:
    """Whether it is some numbers that the plan leaves out."""
    return what == WORDS or (phase, what) == ("update", JOINS)


def in_ranks(size: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """`work(ranks, *arguments)` in so many processes that gloo joins; what each returns, by rank."""
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(size, FORKS) as pool:
        store = f"file://{Path(folder) / 'store'}"
        return list(pool.map(_one_rank, range(size), *(itertools.repeat(it) for it in (size, store, work, arguments))))


def _one_rank(rank: int, size: int, store: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
    try:
        return work(ProcessGroupRanks(), *arguments)
    finally:
        dist.destroy_process_group()


def compare(cases: Sequence[RankedCase]) -> list[list[OneRank]]:
    """Every rank of each case, in their order; all of as many ranks."""
    with ExitStack() as kept:
        folders = [kept.enter_context(_saved(case)) for case in cases]
        by_rank = in_ranks(cases[0].ranks, observe_all, cases, folders)
    return [list(ranks) for ranks in zip(*by_rank, strict=True)]


def _saved(case: RankedCase) -> AbstractContextManager[Path]:
    alone = case.of(ALONE)
    return saved_models(alone.init, alone.size.vocabulary, alone.heads)


def observe_all(ranks: Ranks, cases: Sequence[RankedCase], folders: Sequence[Path]) -> list[OneRank]:
    """One after another, with their peaks."""
    return [observe(ranks, case, folder, memory=True) for case, folder in zip(cases, folders, strict=True)]


def observe(ranks: Ranks, case: RankedCase, folder: Path, *, memory: bool) -> OneRank:
    """The second update of one rank: its collectives, its tensors, and with `memory` its peaks."""
    others = live_bytes()
    prepared, meter = UPDATES[case.trainer](case.of(ranks), folder), WireMeter(ranks, HOOKS)
    prepared.update()
    with meter.counting():
        prepared.update()
    peaks = {name: peak - others for name, peak in peaks_by_phase(prepared.update).items()} if memory else {}
    sent: Sent = Sent()
    for one in prepared.sent:
        sent[one.phase, one.what] += one.bytes
    planned = planned_held(prepared)
    return OneRank(
        planned_held=planned,
        held=held(prepared, planned),
        planned_sent=sent,
        sent=meter.sent,
        planned_peaks=by_phase(prepared.rows),
        peaks=peaks,
    )


def planned_held(prepared: Prepared) -> Held:
    """Weights and moments, of all the time, and gradients before an optimizer step."""
    found: Held = {}
    for row in prepared.rows:
        kind, _, role = row.what.partition(": ")
        if kind in KINDS and role in prepared.models and row.phase in (ALWAYS, "optimizer"):
            found.setdefault(role, {})[KINDS[kind]] = row.bytes
    return found


def held(prepared: Prepared, named: Held) -> Held:
    """What the rank has: a role's weights that are no earlier role's, frozen roles first, and its optimizer's moments.

    Gradients are those that its parameters would have: as large as what is stepped. What is not among the `named` roles
    (a value head on the policy's trunk) is the policy's.
    """
    frozen_first = sorted(prepared.models, key=lambda role: role in prepared.optimizers)
    counted: set[int] = set()
    found: Held = {}
    for role in frozen_first:
        own = [part for part in prepared.models[role].parameters() if id(part) not in counted]
        counted |= {id(part) for part in own}
        found[role] = {"weights": _bytes(own)}
    for role, optimizer in prepared.optimizers.items():
        moments = [state[key] for state in optimizer.moments.values() for key in ("exp_avg", "exp_avg_sq")]
        found[role] |= {"moments": _bytes(moments), "gradients": _bytes(optimizer.parameters)}
    for role in found.keys() - named.keys():
        for kind, count in found.pop(role).items():
            found["policy"][kind] += count
    return found


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(local(tensor).numel() * tensor.element_size() for tensor in tensors)


def main() -> None:
    """Every trainer in every layout on 2 ranks, some on 4."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    found: dict[str, list[OneRank]] = {}
    for size, measured in MEASURED.items():
        combined = itertools.product(measured, LAYOUTS)
        cases = [RankedCase(trainer, family, size, layout) for (trainer, family), layout in combined]
        for case, ranks in zip(cases, compare(cases), strict=True):
            found[case.name] = ranks
            print(f"{case.name:<44} {ranks[0].peaks_mib:7.1f} MiB {_errors(ranks)}", flush=True)
    record("plan_ranks", {"layouts": {layout: summary(found, layout) for layout in LAYOUTS}, "cases": _plain(found)})


def summary(found: Mapping[str, Sequence[OneRank]], layout: str) -> dict[str, Any]:
    """Of a layout: how many cases, in how many of them bytes held and sent are the plan's, and the peak's errors."""
    of_layout = [ranks for name, ranks in found.items() if name.endswith(layout)]
    errors = [rank.error for ranks in of_layout for rank in ranks]
    return {
        "cases": len(of_layout),
        "held as planned": sum(all(rank.holds_as_planned for rank in ranks) for ranks in of_layout),
        "sent as planned": sum(all(rank.sends_as_planned for rank in ranks) for ranks in of_layout),
        "lowest": round(min(errors), 4),
        "highest": round(max(errors), 4),
    }


def _errors(ranks: Sequence[OneRank]) -> str:
    marks = [
        ("held", all(rank.holds_as_planned for rank in ranks)),
        ("sent", all(rank.sends_as_planned for rank in ranks)),
    ]
    said = ", ".join(f"{what} {'as planned' if right else 'OTHERWISE'}" for what, right in marks)
    return f"{', '.join(f'{rank.error:+.1%}' for rank in ranks)} ({said})"


def _plain(found: Mapping[str, Sequence[OneRank]]) -> list[dict[str, Any]]:
    return [
        {"case": name, "measured_mib": round(ranks[0].peaks_mib, 1), "errors": [round(rank.error, 3) for rank in ranks]}
        for name, ranks in found.items()
    ]
