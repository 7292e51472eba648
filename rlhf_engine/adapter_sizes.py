"""Sizes of low-rank adapters, by closed form. Torch-free; what they are: adapters.py."""

from __future__ import annotations

from rlhf_engine.config import LoraConfig
from rlhf_engine.known_models import ModelShape

FLOAT32 = 4


def linear_layers(shape: ModelShape) -> list[tuple[str, int, int]]:
    """(name, inputs, outputs) of the linear layers of one block, by transformers' names."""
    hidden, width, keys = shape.hidden, shape.intermediate, shape.kv_width
    if shape.architecture == "llama":
        return [
            ("q_proj", hidden, shape.attention_width),
            ("k_proj", hidden, keys),
            ("v_proj", hidden, keys),
            ("o_proj", shape.attention_width, hidden),
            ("gate_proj", hidden, width),
            ("up_proj", hidden, width),
            ("down_proj", width, hidden),
        ]
    if shape.architecture == "gpt_neox":
        attention = [("query_key_value", hidden, 3 * hidden), ("dense", hidden, hidden)]
        return [*attention, ("dense_h_to_4h", hidden, width), ("dense_4h_to_h", width, hidden)]
    attention = [("c_attn", hidden, 3 * hidden), ("c_proj", hidden, hidden)]
    return [*attention, ("c_fc", hidden, width), ("c_proj", width, hidden)]


def _adapted_layers(shape: ModelShape, lora: LoraConfig) -> list[tuple[int, int]]:
    layers = linear_layers(shape)
    return [(inputs, outputs) for name, inputs, outputs in layers if not lora.targets or name in lora.targets]


def adapter_parameters(shape: ModelShape, lora: LoraConfig) -> int:
    """Weights of an adapter on all blocks: rank x (inputs + outputs) for each adapted layer."""
    return shape.layers * sum(lora.rank * (inputs + outputs) for inputs, outputs in _adapted_layers(shape, lora))


def adapter_block_bytes(shape: ModelShape, lora: LoraConfig, number: int) -> int:
    """Bytes that one block keeps for one token beyond those without an adapter: A x of each adapted layer.

    Less what Llama's frozen norms need not keep, their inputs normalised. Layers without an adapter need less still.
    """
    saved_norms = 2 * FLOAT32 * shape.hidden if shape.architecture == "llama" else 0
    return number * lora.rank * len(_adapted_layers(shape, lora)) - saved_norms
