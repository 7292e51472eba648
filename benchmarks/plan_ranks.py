"""The plan of one rank against ranks that train together by gloo: bytes held, bytes sent, and the peak of memory."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
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
from benchmarks.tiny_models import saved_models
from benchmarks.wire_meter import Sent, WireMeter
from rlhf_engine.config import Architecture, ShardingLayout
from rlhf_engine.memory_rows import ALWAYS
from rlhf_engine.ranks import ALONE, ProcessGroupRanks, Ranks
from rlhf_engine.sharding.state import local

LAYOUTS: tuple[ShardingLayout, ...] = ("ddp", "zero-1", "zero-2", "zero-3")
TRAINERS = ("SFT", "RM", "DPO", "RLOO", "PPO separate", "PPO shared_trunk", "PPO adapters")
KINDS = {"weights": "weights", "Adam moments": "moments", "gradients": "gradients"}

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


FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["benchmarks.plan_updates"])


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


def compare(case: RankedCase, *, memory: bool = True) -> list[OneRank]:
    """Every rank of the case; with `memory` its peaks too."""
    alone = case.of(ALONE)
    with saved_models(alone.init, alone.size.vocabulary, alone.heads) as folder:
        return in_ranks(case.ranks, observe, case, folder, memory)


def observe(ranks: Ranks, case: RankedCase, folder: Path, memory: bool) -> OneRank:
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
