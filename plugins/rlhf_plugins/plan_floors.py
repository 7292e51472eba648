"""The least time that phases of a step take on a device, beside a memory plan. Torch-free."""

from __future__ import annotations

from typing import Any

from rlhf_engine.errors import ConfigError
from rlhf_engine.memory_rows import PEAK
from rlhf_engine.ranked_plan.placing import ADAM_MOMENTS
from rlhf_engine.time_floors import Floors, Rates, step_floors, steps_of
from rlhf_plugins.plan_subjects import Changes, Single
from rlhf_sdk.planning import PhaseFloor, PlanDevice, StageFloors
from rlhf_sdk.trainer import UserError


def stage_floors(subject: Single, device: PlanDevice) -> list[StageFloors]:
    """Of each stage whose floors are known, the phases in the order of the plan."""
    found = []
    for stage in subject.stages:
        floors = floors_of(subject, stage, device, {})
        order = dict.fromkeys(row.phase for row in subject.stage_rows(stage, {}) if row.what != PEAK)
        phases = [PhaseFloor(phase, floors[phase]) for phase in order if phase in floors]
        if phases:
            found.append(StageFloors(stage=stage, phases=phases, steps=steps_of(subject.linked(stage).config)))
    return found


def floors_of(subject: Single, stage: str, device: PlanDevice, changes: Changes) -> Floors:
    """Of one rank's share of a step; nothing where the device's rates are not known."""
    config = subject.share_of(stage, changes)
    rates = _rates(config, device)
    if rates is None:
        return {}
    rows = subject.stage_rows(stage, changes)
    moments = sum(row.bytes for row in rows if row.what.startswith("Adam moments"))
    try:
        return step_floors(config, moments // ADAM_MOMENTS, rates)
    except ConfigError as error:
        raise UserError(str(error)) from error


def _rates(config: Any, device: PlanDevice) -> Rates | None:
    flops = device.float32_flops if config.precision.compute == "float32" else device.bfloat16_flops
    return Rates(flops, device.bandwidth) if flops and device.bandwidth else None
