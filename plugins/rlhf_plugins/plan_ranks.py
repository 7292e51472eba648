"""Advice for several ranks: what one sends and how long that takes at the least, and every layout that there is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rlhf_engine.config import OnlineConfig, PPOConfig, PreferenceConfig
from rlhf_engine.ranked_plan.traffic import FROM_HOST, OPTIMIZER, Sent, to_ranks
from rlhf_engine.time_floors import Floors
from rlhf_plugins.plan_floors import floors_of
from rlhf_plugins.plan_subjects import Changes, Single
from rlhf_sdk.planning import PhaseTraffic, PlanDevice, PlanRanks, RankLayout, StageTraffic

HOST_LINK = 64e9
"""Bytes a second from the host's memory to a device at the most: PCI Express 5.0 with 16 lanes."""
FROZEN = ("ref_model", "reward_model")
ROLES = ("value_model", *FROZEN)
PPO_LAYOUTS = ("separate", "shared_trunk", "adapters")


def traffic_of(subject: Single, device: PlanDevice, ranks: PlanRanks) -> list[StageTraffic]:
    """What one rank sends in a step of each stage; stages of one process are left out."""
    found = []
    for stage in subject.stages:
        phases = [
            PhaseTraffic(one.phase, one.what, one.bytes, seconds_of(one, device, ranks))
            for one in subject.traffic(stage, {})
        ]
        if phases:
            found.append(StageTraffic(stage=stage, phases=phases))
    return found


def seconds_of(sent: Sent, device: PlanDevice, ranks: PlanRanks) -> float | None:
    """At the least. Rings over several machines leave each machine once, so that what one rank sends also passes the
    machine's network.
    """
    if sent.what == FROM_HOST:
        return sent.bytes / HOST_LINK
    rates = [device.link, ranks.network] if ranks.machines > 1 else [device.link]
    known = [rate for rate in rates if rate]
    return sent.bytes / min(known) if len(known) == len(rates) else None


def step_seconds(floors: Floors, sent: Iterable[tuple[Sent, float | None]]) -> float | None:
    """Of one step: a phase computes and sends at once, but for sums before an optimizer step, which it waits for."""
    phases = dict.fromkeys(floors, 0.0)
    for one, seconds in sent:
        if seconds is None:
            return None
        phases[one.phase] = phases.get(one.phase, 0.0) + seconds
    if not floors:
        return None
    return sum(
        floors.get(phase, 0.0) + seconds if phase == OPTIMIZER else max(floors.get(phase, 0.0), seconds)
        for phase, seconds in phases.items()
    )


def layouts_of(subject: Single, device: PlanDevice, ranks: PlanRanks) -> list[RankLayout]:
    """Every layout over the ranks, in each of PPO's own layouts; of a run by itself alone."""
    if len(subject.stages) > 1:
        return []
    stage, config = next(iter(subject.stages.items()))
    if subject.ranks_of(stage) == 1:
        return []
    return [
        _layout(subject, stage, sharding, layout, changes, device, ranks)
        for layout, own in _own_layouts(config)
        for sharding, changes in _shardings(config, own)
    ]


def _layout(
    subject: Single, stage: str, sharding: str, layout: str, changes: Changes, device: PlanDevice, ranks: PlanRanks
) -> RankLayout:
    rows, sent = subject.stage_rows(stage, changes), subject.traffic(stage, changes)
    peak, floors = rows[-1], floors_of(subject, stage, device, changes)
    config = subject.stages[stage]
    return RankLayout(
        sharding=sharding,
        layout=layout,
        settings=[f"{stage}.{key}={_written(value)}" for key, value in changes.items()],
        peak=peak.bytes,
        phase=peak.phase,
        sent=to_ranks(sent),
        seconds=step_seconds(floors, [(one, seconds_of(one, device, ranks)) for one in sent]),
        same_algorithm=layout == getattr(config, "layout", ""),
    )


def _own_layouts(config: Any) -> Iterator[tuple[str, Changes]]:
    if not isinstance(config, PPOConfig):
        yield "", {}
        return
    for layout in PPO_LAYOUTS:
        if layout == "adapters" or config.lora is None:
            yield layout, {} if layout == config.layout else {"layout": layout}


def _shardings(config: Any, own: Changes) -> Iterator[tuple[str, Changes]]:
    """By name, with the settings that make the config so; roles that say something else say nothing."""
    roles = [role for role in ROLES if getattr(config.sharding, role, "")]
    plain = {**own, **{f"sharding.{role}": "" for role in roles}}
    if config.sharding.offload:
        plain["sharding.offload"] = False
    if config.sharding.gather_dtype != "float32":
        plain["sharding.gather_dtype"] = "float32"
    cut = {**plain, "sharding.gather_dtype": "bfloat16"} if config.precision.compute == "bfloat16" else plain
    for name in ("ddp", "zero-1"):
        yield name, plain | {"sharding.model": name}
    for name in ("zero-2", "zero-3"):
        yield name, cut | {"sharding.model": name}
    if own.get("layout", getattr(config, "layout", "")) == "adapters":
        return
    if isinstance(config, PPOConfig):
        frozen = {f"sharding.{role}": "zero-3" for role in FROZEN}
        yield "zero-2/3", cut | {"sharding.model": "zero-2"} | frozen
    if isinstance(config, OnlineConfig | PreferenceConfig):
        yield "zero-3/host", cut | {"sharding.model": "zero-3", "sharding.offload": True}


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
