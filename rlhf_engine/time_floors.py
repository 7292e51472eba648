"""The least time that the phases of a step can take on a device, from operations and bytes alone. Torch-free.

Matrix products run at the device's peak rate, decoding reads weights and cache at its full bandwidth, and nothing else
takes any time.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlhf_engine.activations import FLOAT32, Batch
from rlhf_engine.comparison_plan import comparison_batch
from rlhf_engine.config import (
    CriticFreeConfig,
    DistilConfig,
    LoraConfig,
    ModelConfig,
    OnlineConfig,
    PPOConfig,
    PreferenceConfig,
    PretrainConfig,
    RMConfig,
    SFTConfig,
    TokenizerConfig,
)
from rlhf_engine.known_models import ModelShape, shape_of
from rlhf_engine.memory_rows import compute_bytes
from rlhf_engine.update_rows import BACKWARD, FORWARD, OPTIMIZER

ADAM_TRAFFIC = 7 * FLOAT32
"""Bytes of an optimizer step for each weight: weight, gradient and moments read, all but the gradient written."""

Floors = dict[str, float]
"""Seconds of one step by phase."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Operations (a multiplication and an addition are two) and bytes a second."""

    flops: float
    bandwidth: float


def trunk_flops(shape: ModelShape, batch: Batch) -> float:
    """Of a forward through the blocks: 2 for each weight and token, and causal attention."""
    weights = 2 * shape.layers * shape.block_parameters
    return batch.size * (weights + 2 * shape.layers * shape.attention_width * batch.tokens)


def head_flops(shape: ModelShape, batch: Batch) -> float:
    """Of the logits of the states that are read."""
    return 2.0 * shape.vocabulary * shape.hidden * batch.rows * batch.read


def decoding_seconds(shape: ModelShape, rows: int, prompt: int, responses: int, number: int, rates: Rates) -> float:
    """Reading the prompts, then one token after another: weights and cache are read for each."""
    reading = trunk_flops(shape, Batch(rows, prompt)) / rates.flops
    weights = shape.layers * shape.block_parameters + shape.vocabulary * shape.hidden
    step = max(2 * weights * rows / rates.flops, number * weights / rates.bandwidth)
    cached = sum(prompt + token for token in range(1, responses))
    cache = 2 * number * shape.layers * shape.kv_width * rows * cached
    return reading + (responses - 1) * step + cache / rates.bandwidth


@dataclass(frozen=True, slots=True)
class _Trained:
    """A model that goes forward and backward; `logits`: its output head too."""

    shape: ModelShape
    model: ModelConfig
    adapted: bool
    logits: bool = True

    def forward(self, batch: Batch) -> float:
        return trunk_flops(self.shape, batch) + self.logits * head_flops(self.shape, batch)

    def backward(self, batch: Batch) -> float:
        """Twice the forward, once where weights are frozen; blocks under checkpointing and logits once more."""
        trunk = trunk_flops(self.shape, batch) * ((1 if self.adapted else 2) + self.model.gradient_checkpointing)
        return trunk + self.logits * head_flops(self.shape, batch) * (2 if self.adapted else 3)


def step_floors(config: object, trained_weights: int, rates: Rates) -> Floors:
    """Of one step (an update, in online training); nothing where no floor is known.

    Raises ConfigError where the models' sizes can't be known.
    """
    if isinstance(config, OnlineConfig):
        return _online(config, trained_weights, rates)
    if isinstance(config, DistilConfig):
        return _distillation(config, trained_weights, rates)
    if isinstance(config, PretrainConfig):
        batch = Batch(config.batch_size, config.sequence_tokens, config.sequence_tokens - 1)
        return _supervised(config, batch, trained_weights, rates)
    if isinstance(config, SFTConfig):
        responses = config.data.max_response_tokens
        batch = Batch(config.batch_size, config.data.max_prompt_tokens + responses, responses)
        return _supervised(config, batch, trained_weights, rates, lora=config.lora)
    if isinstance(config, RMConfig):
        return _supervised(
            config, comparison_batch(config, config.batch_size), trained_weights, rates, lora=config.lora, logits=False
        )
    if isinstance(config, PreferenceConfig):
        batch = comparison_batch(config, config.batch_size)
        floors = _supervised(config, batch, trained_weights, rates)
        return floors | {FORWARD: 2 * floors[FORWARD]}
    return {}


def steps_of(config: object) -> int | None:
    """Steps of the whole run; None where the number of rows decides."""
    if isinstance(config, OnlineConfig):
        return max(config.total_episodes // config.batch_size, 1)
    return getattr(config, "max_steps", 0) or None


def _supervised(
    config: PretrainConfig | SFTConfig | RMConfig | PreferenceConfig,
    batch: Batch,
    trained_weights: int,
    rates: Rates,
    *,
    lora: LoraConfig | None = None,
    logits: bool = True,
) -> Floors:
    shape = shape_of(config.model, config.tokenizer)
    model = _Trained(shape, config.model, lora is not None, logits)
    return {
        FORWARD: model.forward(batch) / rates.flops,
        BACKWARD: model.backward(batch) / rates.flops,
        OPTIMIZER: ADAM_TRAFFIC * trained_weights / rates.bandwidth,
    }


def _online(config: OnlineConfig, trained_weights: int, rates: Rates) -> Floors:
    shape = shape_of(config.model, config.tokenizer)
    scalar = shape_of(config.reward_model, config.tokenizer, key="reward_model")
    prompt, responses = config.data.max_prompt_tokens, config.response_tokens
    batch = Batch(config.batch_size, prompt + responses, responses)
    models = [_Trained(shape, config.model, _adapted(config))]
    if isinstance(config, PPOConfig) and config.layout != "shared_trunk":
        models.append(_Trained(scalar, config.reward_model, _adapted(config), logits=False))
    logprobs = (trunk_flops(shape, batch) + head_flops(shape, batch)) / rates.flops
    number, steps = compute_bytes(config.precision), config.ppo_epochs * config.minibatches
    sampled = min(config.rollout_batch_size, config.batch_size)
    floors = {
        "rollout": config.batch_size / sampled * decoding_seconds(shape, sampled, prompt, responses, number, rates),
        "policy logprobs": logprobs,
        "reference logprobs": logprobs,
        "scores": trunk_flops(scalar, batch) / rates.flops,
        FORWARD: config.ppo_epochs * sum(model.forward(batch) for model in models) / rates.flops,
        BACKWARD: config.ppo_epochs * sum(model.backward(batch) for model in models) / rates.flops,
        OPTIMIZER: steps * ADAM_TRAFFIC * trained_weights / rates.bandwidth,
    }
    if isinstance(config, CriticFreeConfig):
        return floors
    return floors | {"values": trunk_flops(models[-1].shape, batch) / rates.flops}


def _adapted(config: OnlineConfig) -> bool:
    return isinstance(config, PPOConfig) and config.layout == "adapters"


def _distillation(config: DistilConfig, trained_weights: int, rates: Rates) -> Floors:
    teacher = shape_of(config.teacher, config.tokenizer, key="teacher")
    shape = shape_of(config.model, TokenizerConfig(train_vocab_size=teacher.vocabulary))
    prompt, responses = config.data.max_prompt_tokens, config.response_tokens
    batch, student = Batch(config.batch_size, prompt + responses, responses), _Trained(shape, config.model, False)
    sampled = min(config.rollout_batch_size, config.batch_size)
    number, rounds = compute_bytes(config.precision), config.batch_size / sampled
    compared = trunk_flops(teacher, batch) + head_flops(teacher, batch) if config.objective == "logits" else 0.0
    return {
        "rollout": rounds * decoding_seconds(teacher, sampled, prompt, responses, number, rates),
        FORWARD: (student.forward(batch) + compared) / rates.flops,
        BACKWARD: student.backward(batch) / rates.flops,
        OPTIMIZER: ADAM_TRAFFIC * trained_weights / rates.bandwidth,
    }
