"""Bytes of activations by closed form for each family: kept for the backward pass, or only passing. Torch-free.

Counted from the operations of transformers' blocks with fused attention, and measured; tests hold them against what
autograd really saves and allocates.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlhf_engine.adapter_sizes import adapter_block_bytes, adapts_mlp, first_block_bytes
from rlhf_engine.config import LoraConfig
from rlhf_engine.known_models import ModelShape

FLOAT32 = 4
TOKEN_ID = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of so many tokens that pass through a model at once, `read` of a row's states by its head.

    `packed`: K responses behind one prompt, under one additive mask instead of one for each block.
    """

    rows: int
    tokens: int
    read: int = 0
    packed: bool = False

    @property
    def size(self) -> int:
        """Tokens in all rows."""
        return self.rows * self.tokens


def block_bytes(shape: ModelShape, tokens: int, number: int, *, packed: bool = False) -> int:
    """Bytes that one block keeps for one token of a row of `tokens`; `number` is 4 (fp32) or 2 (bf16 autocast).

    Residual stream and norms stay fp32 under autocast; what matrix products read is kept in `number` bytes.
    """
    hidden, attention, width = shape.hidden, shape.attention_width, shape.intermediate
    half = number < FLOAT32
    if shape.architecture == "llama":
        # Each of the five projections behind a norm keeps a bf16 copy of its own; in fp32 they share one tensor.
        full = (4 if half else 6) * hidden + 2
        reduced = (5 * hidden if half else 0) + 4 * attention + 4 * width
    elif shape.architecture == "gpt_neox":
        full = (1 if half else 4) * hidden + 4
        reduced = (3 * hidden if half else 0) + 6 * attention + 2 * width
    else:
        full = (2 if half else 4) * hidden + 4
        reduced = (2 * hidden if half else 0) + 4 * attention + 5 * width
    mask = 0 if packed and not half else tokens
    return FLOAT32 * (full + shape.heads) + number * (reduced + mask)


def _edge_bytes(shape: ModelShape, batch: Batch) -> int:
    """Bytes for one token outside the blocks: ids, rotary tables, final norm, and a mask that all blocks share."""
    rotary = 2 * shape.head_size if shape.architecture == "llama" else shape.head_size // 2
    positions = 0 if shape.architecture != "gpt2" else TOKEN_ID
    norm = 2 * shape.hidden + 1 if shape.architecture == "llama" else shape.hidden + 2
    mask = batch.tokens if batch.packed else 0
    return TOKEN_ID + positions + FLOAT32 * (norm + mask + (0 if shape.architecture == "gpt2" else rotary))


def saved_bytes(
    shape: ModelShape, batch: Batch, number: int, *, gradient_checkpointing: bool, lora: LoraConfig | None = None
) -> int:
    """Bytes kept between forward and backward; with `lora` the blocks' own weights are frozen.

    With gradient checkpointing: each block's input.
    """
    blocks = shape.layers * FLOAT32 * shape.hidden
    if not gradient_checkpointing:
        blocks = shape.layers * _block_bytes(shape, batch, number, lora)
        blocks -= first_block_bytes(shape, lora, number) if lora else 0
    return batch.size * (blocks + _edge_bytes(shape, batch))


def recomputed_bytes(shape: ModelShape, batch: Batch, number: int, *, lora: LoraConfig | None = None) -> int:
    """Bytes that gradient checkpointing recomputes at a time: one block's, but for its input."""
    return batch.size * (_block_bytes(shape, batch, number, lora) - FLOAT32 * shape.hidden)


def _block_bytes(shape: ModelShape, batch: Batch, number: int, lora: LoraConfig | None) -> int:
    block = block_bytes(shape, batch.tokens, number, packed=batch.packed)
    return block + (adapter_block_bytes(shape, lora, number) if lora else 0)


def forward_bytes(shape: ModelShape, batch: Batch, number: int, *, lora: LoraConfig | None = None) -> int:
    """Bytes that live at once in a forward without gradient: the residual stream, a block's input, and its insides."""
    return batch.size * 2 * FLOAT32 * shape.hidden + passing_bytes(shape, batch, number, lora=lora)


def passing_bytes(shape: ModelShape, batch: Batch, number: int, *, lora: LoraConfig | None = None) -> int:
    """Bytes inside one block at its busiest, in its MLP or its attention, in a forward that keeps nothing.

    Adapted layers have an output of their own beside the frozen layer's.
    """
    hidden, attention, keys, width = shape.hidden, shape.attention_width, shape.kv_width, shape.intermediate
    half = number < FLOAT32
    if shape.architecture == "llama":
        mlp = 3 * number * width + (9 if half else 8) * hidden
        attending = 4 * hidden + 16 * attention + (8 if half else 12) * keys
    elif shape.architecture == "gpt_neox":
        mlp = 2 * number * width + 8 * hidden
        attending = (25 if half else 32) * hidden + (2 * batch.tokens if half else 0)
    else:
        mlp = 4 * number * width + (15 if half else 16) * hidden
        attending = 8 * hidden + 16 * attention
    mask = batch.tokens * (FLOAT32 if batch.packed else 1)
    rotary = 2 * FLOAT32 * shape.head_size if shape.architecture == "llama" else 0
    if lora:
        # GPT-2's GELU, made of many operations, needs more than its adapters, and not at the same time.
        mlp += FLOAT32 * width * (adapts_mlp(shape, lora) and shape.architecture != "gpt2")
        attending += 2 * FLOAT32 * attention
    return batch.size * (max(mlp, attending) + mask + rotary)


def backward_bytes(shape: ModelShape, batch: Batch, number: int, *, lora: LoraConfig | None = None) -> int:
    """Bytes of gradients inside one block at its busiest, beyond what the backward pass has freed by then.

    Under autocast an adapted layer's input has an fp32 copy, and so has its gradient.
    """
    hidden, width, half = shape.hidden, shape.intermediate, number < FLOAT32
    if shape.architecture == "gpt_neox":
        mlp, attending = number * width + (7 if half else 4) * hidden, (14 if half else 20) * hidden
    else:
        mlp, attending = 2 * number * width + 4 * hidden, 20 * hidden
    if lora and half and adapts_mlp(shape, lora):
        mlp += number * width
    weight_gradient = (FLOAT32 + (number if half else 0)) * hidden * width
    return batch.size * max(mlp, attending) + weight_gradient
