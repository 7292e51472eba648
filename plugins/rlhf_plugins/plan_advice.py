"""What would save memory, what fits, and how fast a run can be at the most: advice beside a memory plan. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rlhf_engine.config import LoraConfig, PPOConfig
from rlhf_plugins.plan_floors import stage_floors
from rlhf_plugins.plan_ranks import layouts_of, traffic_of
from rlhf_plugins.plan_subjects import Changes, Single, subject_of
from rlhf_sdk.planning import AdviceRequest, LargestBatch, PlanAdvice, PlanDevice, PlanSwitch

HALVED = ("micro_batch_size", "rollout_batch_size", "response_tokens")
ASSUMPTIONS = [
    "matrix products run at the device's peak rate, and nothing runs beside them that takes time",
    "every row has the longest prompt and the longest response; shorter ones take less",
    "decoding reads all weights, and the cache so far, from memory for each token",
    "an optimizer step reads weights, gradients and moments and writes weights and moments",
]
OF_RANKS = [
    "ranks send in rings at the full rate of the link within a machine and of the network between machines, while "
    "they compute; an optimizer step waits for its sums",
]


def advise(request: AdviceRequest) -> PlanAdvice:
    """Switches that save memory, batches that fit, floors of time; of several ranks, what they send, and all layouts.

    Raises `UserError` as the plan does.
    """
    subject, device, ranks = subject_of(request), request.device, request.ranks
    floors, several = stage_floors(subject, device), ranks.size > 1
    return PlanAdvice(
        rows=subject.rows(next(iter(subject.stages)), {}),
        switches=_switches(subject, device),
        largest=[found for name in subject.stages for found in _largest_batch(subject, name, device.memory)],
        floors=floors,
        assumptions=(ASSUMPTIONS + (OF_RANKS if several else [])) if floors else [],
        traffic=traffic_of(subject, device, ranks) if several else [],
        layouts=layouts_of(subject, device, ranks) if several else [],
    )


def _switches(subject: Single, device: PlanDevice) -> list[PlanSwitch]:
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


def _largest_batch(subject: Single, stage: str, memory: int) -> Iterator[LargestBatch]:
    """The largest micro-batch whose peak in this stage fits, by bisection: more rows never need less."""
    config = subject.stages[stage]
    if not hasattr(config, "micro_batch_size"):
        return
    useful = max(config.batch_size // getattr(config, "minibatches", 1) // subject.ranks_of(stage), 1)
    fits, too_many = 0, useful + 1
    while too_many - fits > 1:
        tried = (fits + too_many) // 2
        if subject.stage_rows(stage, {"micro_batch_size": tried})[-1].bytes <= memory:
            fits = tried
        else:
            too_many = tried
    yield LargestBatch(key=f"{stage}.micro_batch_size", configured=config.micro_batch_size, largest=fits, useful=useful)
