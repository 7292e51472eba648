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


def adapted_layers(shape: ModelShape, lora: LoraConfig) -> list[tuple[int, int]]:
    """(inputs, outputs) of the linear layers of one block that have an adapter."""
    layers = linear_layers(shape)
    return [(inputs, outputs) for name, inputs, outputs in layers if not lora.targets or name in lora.targets]


def adapter_parameters(shape: ModelShape, lora: LoraConfig) -> int:
    """Weights of an adapter on all blocks: rank x (inputs + outputs) for each adapted layer."""
    return shape.layers * sum(lora.rank * (inputs + outputs) for inputs, outputs in adapted_layers(shape, lora))


def adapted_parameters(shape: ModelShape, lora: LoraConfig) -> int:
    """Weights of the frozen layers that have an adapter: what merging copies."""
    return shape.layers * sum(inputs * outputs for inputs, outputs in adapted_layers(shape, lora))


def adapts_mlp(shape: ModelShape, lora: LoraConfig) -> bool:
    """Whether a layer of the MLP has an adapter."""
    return any(shape.intermediate in layer for layer in adapted_layers(shape, lora))


def first_block_bytes(shape: ModelShape, lora: LoraConfig, number: int) -> int:
    """Bytes for one token that the first block need not keep, since nothing before its first adapter is trained.

    GPT-NeoX reads attention and MLP off the same input, so that an MLP without adapters is left out altogether.
    """
    alone = shape.architecture == "gpt_neox" and not adapts_mlp(shape, lora)
    return FLOAT32 * shape.hidden + (number * shape.intermediate if alone else 0)


def adapter_block_bytes(shape: ModelShape, lora: LoraConfig, number: int) -> int:
    """Bytes that one block keeps for one token beyond those of a block that is trained: A x of each adapted layer.

    Less what frozen weights need not keep: the normalised inputs of Llama's norms, and inputs of linear layers that
    have no adapter.
    """
    saved_norms = 2 * FLOAT32 * shape.hidden if shape.architecture == "llama" else 0
    added = number * lora.rank * len(adapted_layers(shape, lora))
    return added - saved_norms - number * _unread_inputs(shape, lora, number)


def _unread_inputs(shape: ModelShape, lora: LoraConfig, number: int) -> int:
    """Numbers for one token of the inputs that are kept for layers without an adapter alone."""
    hidden, width = shape.hidden, shape.intermediate
    if shape.architecture == "llama":
        behind_norms = [["q_proj", "k_proj", "v_proj"], ["gate_proj", "up_proj"]]
        shared = behind_norms if number == FLOAT32 else [[name] for names in behind_norms for name in names]
        inputs = [*((names, hidden) for names in shared), (["o_proj"], shape.attention_width), (["down_proj"], width)]
    elif shape.architecture == "gpt_neox":
        inputs = [(["query_key_value"], hidden), (["dense"], hidden)]
        inputs += [(["dense_h_to_4h"], hidden), (["dense_4h_to_h"], width)]
    else:
        inputs = [(["c_attn"], hidden), (["c_fc"], hidden), (["c_proj"], hidden), (["c_proj"], width)]
    targets = lora.targets or [name for name, _, _ in linear_layers(shape)]
    return sum(size for readers, size in inputs if not set(readers) & set(targets))
