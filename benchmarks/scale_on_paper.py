"""PPO of Pythia 1B, 2.8B and 6.9B on 1 to 64 H100s, by arithmetic: the tables of docs/scaling_on_paper.md."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from rlhf_console.gpus import GPUS
from rlhf_engine.config import DataConfig, ModelConfig, PPOConfig, PrecisionConfig
from rlhf_engine.ranked_plan.traffic import to_ranks
from rlhf_plugins.plan_floors import floors_of
from rlhf_plugins.plan_ranks import seconds_of, step_seconds
from rlhf_plugins.plan_subjects import Changes, Single
from rlhf_sdk.planning import PlanDevice, PlanRanks
from rlhf_sdk.spec import PlanRow

GIB = 2**30
MODELS = {
    "1B": "EleutherAI/pythia-1b-deduped",
    "2.8B": "EleutherAI/pythia-2.8b-deduped",
    "6.9B": "EleutherAI/pythia-6.9b-deduped",
}
GPUS_USED = (1, 2, 4, 8, 16, 32, 64)
IN_A_MACHINE = 8
FAST, SLOW = 400e9, 12.5e9
"""Bytes a second that one machine sends to the others: eight adapters of 400 Gb/s, and one of 100 Gb/s."""

CUT = {"sharding.gather_dtype": "bfloat16"}
FROZEN_CUT = {"sharding.ref_model": "zero-3", "sharding.reward_model": "zero-3"}
SHARDINGS: dict[str, Changes] = {
    "ddp": {},
    "zero-1": {"sharding.model": "zero-1"},
    "zero-2": {"sharding.model": "zero-2", **CUT},
    "zero-2/3": {"sharding.model": "zero-2", **CUT, **FROZEN_CUT},
    "zero-3": {"sharding.model": "zero-3", **CUT},
    "zero-3/host": {"sharding.model": "zero-3", "sharding.offload": True, **CUT},
}
"""By name, as `rlhf plan` has them."""
LAYOUTS = ("separate", "shared_trunk", "adapters")
CHECKPOINTED = {"model.gradient_checkpointing": True, "reward_model.gradient_checkpointing": True}
MICRO_BATCHES = (64, 32, 16, 8, 4, 2, 1)
ROLLOUT_ROWS = (64, 16, 4)
ENOUGH_ROWS = 4
SPARED = 0.05
"""Of the memory, what fragmentation may take."""
HIDDEN = 0.75
"""Of the time that an update computes, what sending may take at the most to be thought hidden behind it."""
PHASES = {
    "generation": ("rollout",),
    "experience": ("policy logprobs", "reference logprobs", "values", "scores"),
    "update": ("forward", "backward", "optimizer"),
}


@cache
def config_of(model: str) -> PPOConfig:
    """The settings of profile tldr-pythia-1b, for one of the models."""
    path = MODELS[model]
    return PPOConfig(
        model=ModelConfig(path=path),
        reward_model=ModelConfig(path=path),
        data=DataConfig(max_prompt_tokens=512),
        precision=PrecisionConfig(compute="bfloat16"),
    )


@dataclass(frozen=True)
class OnPaper:
    """One of so many ranks of PPO of a model, with some settings."""

    model: str
    gpus: int
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def subject(self) -> Single:
        return Single("ppo", config_of(self.model), self.gpus)

    @property
    def peak(self) -> PlanRow:
        return _peak(self)

    @property
    def fits(self) -> bool:
        return self.peak.bytes <= device().memory

    @property
    def sent(self) -> int:
        """Bytes that it sends to other ranks in an update."""
        return to_ranks(self.subject.traffic("ppo", dict(self.changes)))

    def seconds(self, network: float) -> dict[str, tuple[float, float]]:
        """By group of phases, the least time that computing and that sending takes."""
        ranks = ranks_of(self.gpus, network)
        sent = self.subject.traffic("ppo", dict(self.changes))
        floors = self.floors
        found = {}
        for group, phases in PHASES.items():
            sending = sum(seconds_of(one, device(), ranks) or 0.0 for one in sent if one.phase in phases)
            found[group] = (sum(floors.get(phase, 0.0) for phase in phases), sending)
        return found

    def step(self, network: float) -> float:
        """The least time of an update."""
        ranks = ranks_of(self.gpus, network)
        sent = [(one, seconds_of(one, device(), ranks)) for one in self.subject.traffic("ppo", dict(self.changes))]
        return step_seconds(self.floors, sent) or math.nan

    @property
    def floors(self) -> dict[str, float]:
        return floors_of(self.subject, "ppo", device(), dict(self.changes))

    def having(self, **changes: Any) -> OnPaper:
        """With other values; in keys a double underscore stands for the dot."""
        named = {key.replace("__", "."): value for key, value in changes.items()}
        return OnPaper(self.model, self.gpus, tuple((dict(self.changes) | named).items()))


@cache
def _peak(case: OnPaper) -> PlanRow:
    return case.subject.rows("ppo", dict(case.changes))[-1]


def device() -> PlanDevice:
    return GPUS["H100"].device


def ranks_of(gpus: int, network: float) -> PlanRanks:
    return PlanRanks(processes=min(gpus, IN_A_MACHINE), machines=max(gpus // IN_A_MACHINE, 1), network=network)


def laid_out(model: str, gpus: int, sharding: str, layout: str = "separate") -> OnPaper:
    return OnPaper(model, gpus, (("layout", layout), *SHARDINGS[sharding].items()))


def choices(model: str, gpus: int) -> Iterator[tuple[str, OnPaper]]:
    """What fits, the best first: enough rows in a micro-batch, no recomputation, and then what sends least.

    What sends for most of the time that it computes comes later.
    """
    names = list(SHARDINGS) if gpus > 1 else ["ddp"]
    for enough in (True, False):
        for checkpointed in ({}, CHECKPOINTED):
            found = []
            for name in names:
                case = laid_out(model, gpus, name)
                case = OnPaper(model, gpus, (*case.changes, *checkpointed.items()))
                fitting = largest_that_fits(case)
                if fitting and (not enough or _is_enough(fitting)):
                    found.append((name, fitting))
            yield from sorted(found, key=lambda one: one[1].sent)


def _is_enough(case: OnPaper) -> bool:
    computing, sending = case.seconds(FAST)["update"]
    return dict(case.changes)["micro_batch_size"] >= ENOUGH_ROWS and sending <= HIDDEN * computing


def largest_that_fits(case: OnPaper) -> OnPaper | None:
    """With the largest micro-batch that does, and then as many rows as fit in a rollout."""
    useful = [rows for rows in MICRO_BATCHES if rows <= config_of(case.model).batch_size // case.gpus]
    for rows, sampled in itertools.product(useful, ROLLOUT_ROWS):
        tried = case.having(micro_batch_size=rows, rollout_batch_size=sampled)
        if tried.peak.bytes <= (1 - SPARED) * device().memory:
            return tried
    return None
