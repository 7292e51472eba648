"""The least CPU seconds that a turn can take at the machine's measured rates, from operations and bytes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.speed.own_configs import dpo_config, ppo_config, rm_config, sft_config
from benchmarks.speed.rates import GIGA
from benchmarks.speed.task import Task
from rlhf_engine.activations import Batch
from rlhf_engine.config import PPOConfig, RMConfig, TrainerConfig
from rlhf_engine.known_models import shape_of
from rlhf_engine.memory_rows import compute_bytes
from rlhf_engine.time_floors import Rates, decoding_seconds, head_flops, step_floors

CONFIGS: dict[str, Callable[[Task], TrainerConfig]] = {
    "sft": sft_config,
    "rm": rm_config,
    "dpo": dpo_config,
    "ppo": ppo_config,
    "ppo-bf16": ppo_config,
}
FORWARDS_OF_LOGPROBS = 4
"""The policy's, two for its gradients, and the reference's."""


def floor_seconds(stage: str, task: Task, found: Mapping[str, float]) -> float | None:
    """Of one turn of `stage`, with the machine's rates as `benchmarks.speed.rates` gives them; None: no floor is known.

    Lengths are the longest ones, so there is none where lengths differ.
    """
    rates = Rates(GIGA * found["gflops_bf16" if task.precision == "bfloat16" else "gflops"], GIGA * found["gigabytes"])
    if task.shape.mean_response:
        return None
    if stage in CONFIGS:
        config = CONFIGS[stage](task)
        return sum(step_floors(config, trained_weights(config), rates).values())
    kind, _, _ = stage.partition("-")
    if kind not in ("generation", "logprobs"):
        return None
    config = ppo_config(task)
    shape = shape_of(config.model, config.tokenizer)
    if kind == "generation":
        number = compute_bytes(config.precision)
        return decoding_seconds(shape, task.rows, task.shape.prompt, task.shape.response, number, rates)
    read = task.shape.response
    return FORWARDS_OF_LOGPROBS * head_flops(shape, Batch(task.rows, read, read)) / rates.flops


def trained_weights(config: TrainerConfig) -> int:
    """All weights of what is trained."""
    shape = shape_of(config.model, config.tokenizer)
    if isinstance(config, RMConfig):
        return shape.scalar_parameters
    has_critic = isinstance(config, PPOConfig) and config.layout == "separate"
    return shape.policy_parameters + has_critic * shape.scalar_parameters
