"""How much memory the probe of an online run needs, by arithmetic. Torch-free; what it does: hacking/probe.py."""

from __future__ import annotations

from rlhf_engine.activations import Batch
from rlhf_engine.config import LoraConfig, ModelConfig, OnlineConfig
from rlhf_engine.known_models import ModelShape, shape_of
from rlhf_engine.memory_rows import (
    MemoryRow,
    TrainedRole,
    busiest,
    compute_bytes,
    forward_rows,
    sampling_rows,
    weights,
)

PROBE = "probe"


def second_model_shape(config: OnlineConfig) -> ModelShape | None:
    """The shape of the second reward model; None without one. Raises ConfigError where its sizes can't be known."""
    if not config.probe.every or not config.probe.reward_model:
        return None
    return shape_of(ModelConfig(path=config.probe.reward_model), config.tokenizer, key="probe.reward_model")


def probe_rows(
    config: OnlineConfig,
    policy: TrainedRole,
    reward_model: ModelShape,
    second: ModelShape | None,
    reward_adapter: LoraConfig | None = None,
    ranks: int = 1,
) -> list[MemoryRow]:
    """The weights of the second reward model, which stay, and the busiest moment of one rank's share of a probe.

    Nothing without probes.
    """
    if not config.probe.every:
        return []
    number, prompts = compute_bytes(config.precision), config.probe.held_out(config.data).max_prompt_tokens
    tokens, size = prompts + config.response_tokens, -(-config.probe.size // ranks)
    answers = Batch(min(config.rollout_batch_size, size), tokens, config.response_tokens)
    read = Batch(min(config.micro_batch_size, size), tokens, config.response_tokens)
    scored = Batch(read.rows, tokens)
    shape, gathers = policy.shape, policy.gathers
    moments = [
        sampling_rows(shape, answers, number, PROBE, gathers=gathers),
        forward_rows(shape, read, number, PROBE, role="policy", lora=policy.lora, entropies=True, gathers=gathers),
        forward_rows(shape, read, number, PROBE, entropies=True),
        forward_rows(reward_model, scored, number, PROBE, lora=reward_adapter),
    ]
    if second is None:
        return busiest(moments)
    moments.append(forward_rows(second, scored, number, PROBE))
    return [weights("second reward model", second.scalar_parameters), *busiest(moments)]
