"""What would save memory, what fits, and how fast a run can be at the most: advice beside a memory plan. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from rlhf_engine.config import LoraConfig, PPOConfig
from rlhf_engine.errors import ConfigError
from rlhf_engine.memory_rows import ADAM_MOMENTS, PEAK
from rlhf_engine.time_floors import Rates, step_floors, steps_of
from rlhf_plugins.pipeline import PipelineConfig
from rlhf_plugins.pipeline_plan import linked_stage, plan_pipeline, stage_rows
from rlhf_plugins.plans import STAGE_PLANS, planned, with_run_directories
from rlhf_sdk.planning import (
    AdviceRequest,
    LargestBatch,
    PhaseFloor,
    PlanAdvice,
    PlanDevice,
    PlanSwitch,
    StageFloors,
)
from rlhf_sdk.spec import PlanRow
from rlhf_sdk.trainer import UserError

PIPELINE = "pipeline"
HALVED = ("micro_batch_size", "rollout_batch_size", "response_tokens")
ASSUMPTIONS = [
    "matrix products run at the device's peak rate, and nothing runs beside them that takes time",
    "every row has the longest prompt and the longest response; shorter ones take less",
    "decoding reads all weights, and the cache so far, from memory for each token",
    "an optimizer step reads weights, gradients and moments and writes weights and moments",
]

Changes = dict[str, Any]
"""Values by dotted key of a stage's config."""


def advise(request: AdviceRequest) -> PlanAdvice:
    """Switches that save memory, batches that fit, floors of time. Raises `UserError` as the plan does."""
    subject = _subject(request)
    floors = _floors(subject, request.device)
    return PlanAdvice(
        rows=subject.rows(next(iter(subject.stages)), {}),
        switches=_switches(subject, request.device),
        largest=[found for name in subject.stages for found in _largest_batch(subject, name, request.device.memory)],
        floors=floors,
        assumptions=ASSUMPTIONS if floors else [],
    )


def _subject(request: AdviceRequest) -> _Single | _Pipeline:
    """A pipeline, one stage of it whose links its other stages explain, or a plugin's run by itself."""
    if request.plugin == PIPELINE:
        return _Pipeline(request.config)
    if not request.stages:
        return _Single(request.plugin, request.config)
    own = {"plugin": request.plugin, "config": msgspec.to_builtins(request.config)}
    stages = {**request.stages, request.plugin: own}
    return _Stage(request.plugin, msgspec.convert({"stages": stages}, PipelineConfig))


class _Single:
    """One plugin's run."""

    def __init__(self, plugin: str, config: Any) -> None:
        self.plugin = plugin
        self.stages: Mapping[str, Any] = {plugin: config}

    def rows(self, stage: str, changes: Changes) -> list[PlanRow]:
        return planned(STAGE_PLANS[self.plugin].plan, changed(self.stages[stage], changes))

    stage_rows = rows

    def linked(self, stage: str) -> Any:
        return with_run_directories(self.stages[stage])


class _Pipeline:
    """Every stage of a pipeline that has a plan and is to run."""

    def __init__(self, config: PipelineConfig) -> None:
        self.config = config
        self.stages: Mapping[str, Any] = {
            name: msgspec.convert(stage.config, STAGE_PLANS[stage.plugin].config)
            for name, stage in config.stages.items()
            if stage.plugin in STAGE_PLANS and name not in config.reuse
        }

    def rows(self, stage: str, changes: Changes) -> list[PlanRow]:
        return plan_pipeline(self._changed(stage, changes))

    def stage_rows(self, stage: str, changes: Changes) -> list[PlanRow]:
        return stage_rows(stage, self._changed(stage, changes))

    def linked(self, stage: str) -> Any:
        return with_run_directories(linked_stage(stage, self.config)[1])

    def _changed(self, stage: str, changes: Changes) -> PipelineConfig:
        values = msgspec.to_builtins(changed(self.stages[stage], changes))
        other = msgspec.structs.replace(self.config.stages[stage], config=values)
        return msgspec.structs.replace(self.config, stages={**self.config.stages, stage: other})


class _Stage(_Pipeline):
    """One stage of a pipeline."""

    def __init__(self, stage: str, config: PipelineConfig) -> None:
        super().__init__(config)
        self.stages = {stage: self.stages[stage]}

    def rows(self, stage: str, changes: Changes) -> list[PlanRow]:
        return self.stage_rows(stage, changes)


def changed(config: Any, changes: Changes) -> Any:
    """The config with other values, by dotted keys."""
    values = msgspec.to_builtins(config)
    for key, value in changes.items():
        *sections, last = key.split(".")
        table = values
        for section in sections:
            table[section] = table[section] or {}
            table = table[section]
        table[last] = value
    return msgspec.convert(values, type(config))


def _switches(subject: _Single | _Pipeline, device: PlanDevice) -> list[PlanSwitch]:
    """Those that lower the peak, the one that saves most first."""
    found = []
    for stage, config in subject.stages.items():
        before = subject.rows(stage, {})[-1].bytes
        for changes in _changes(config, device):
            peak = subject.rows(stage, changes)[-1]
            settings = [f"{stage}.{key}={_written(value)}" for key, value in changes.items()]
            found.append(PlanSwitch(settings=settings, saved=before - peak.bytes, peak=peak.bytes, phase=peak.phase))
    return sorted((switch for switch in found if switch.saved > 0), key=lambda switch: -switch.saved)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _changes(config: Any, device: PlanDevice) -> Iterator[Changes]:
    """What can be switched, one at a time."""
    trained = ["model", "reward_model"] if isinstance(config, PPOConfig) else ["model"]
    keeping = [name for name in trained if hasattr(config, name) and not getattr(config, name).gradient_checkpointing]
    if keeping:
        yield {f"{name}.gradient_checkpointing": True for name in keeping}
    if isinstance(config, PPOConfig):
        layouts = ("shared_trunk", "adapters") if config.lora is None else ("adapters",)
        yield from ({"layout": layout} for layout in layouts if layout != config.layout)
    elif getattr(config, "lora", ...) is None:
        yield {"lora.rank": LoraConfig().rank}
    if config.precision.compute == "float32" and (device.bfloat16_flops or not device.float32_flops):
        yield {"precision.compute": "bfloat16"}
    for key in HALVED:
        if getattr(config, key, 1) > 1:
            yield {key: getattr(config, key) // 2}


def _largest_batch(subject: _Single | _Pipeline, stage: str, memory: int) -> Iterator[LargestBatch]:
    """The largest micro-batch whose peak in this stage fits, by bisection: more rows never need less."""
    config = subject.stages[stage]
    if not hasattr(config, "micro_batch_size"):
        return
    useful = max(config.batch_size // getattr(config, "minibatches", 1), 1)
    fits, too_many = 0, useful + 1
    while too_many - fits > 1:
        tried = (fits + too_many) // 2
        if subject.stage_rows(stage, {"micro_batch_size": tried})[-1].bytes <= memory:
            fits = tried
        else:
            too_many = tried
    yield LargestBatch(key=f"{stage}.micro_batch_size", configured=config.micro_batch_size, largest=fits, useful=useful)


def _floors(subject: _Single | _Pipeline, device: PlanDevice) -> list[StageFloors]:
    found = []
    for stage in subject.stages:
        config = subject.linked(stage)
        rates = _rates(config, device)
        phases = _phases(subject, stage, config, rates) if rates else []
        if phases:
            found.append(StageFloors(stage=stage, phases=phases, steps=steps_of(config)))
    return found


def _rates(config: Any, device: PlanDevice) -> Rates | None:
    flops = device.float32_flops if config.precision.compute == "float32" else device.bfloat16_flops
    return Rates(flops, device.bandwidth) if flops and device.bandwidth else None


def _phases(subject: _Single | _Pipeline, stage: str, config: Any, rates: Rates) -> list[PhaseFloor]:
    rows = subject.stage_rows(stage, {})
    moments = sum(row.bytes for row in rows if row.what.startswith("Adam moments"))
    try:
        floors = step_floors(config, moments // ADAM_MOMENTS, rates)
    except ConfigError as error:
        raise UserError(str(error)) from error
    order = list(dict.fromkeys(row.phase for row in rows if row.what != PEAK))
    return [PhaseFloor(phase, floors[phase]) for phase in order if phase in floors]
