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

    `branches`: tokens of a row that follow its prompt beside one another, K responses; under a mask of their own.
    """

    rows: int
    tokens: int
    read: int = 0
    branches: int = 0

    @property
    def size(self) -> int:
        """Tokens in all rows."""
        return self.rows * self.tokens


def block_bytes(shape: ModelShape, number: int) -> int:
    """Bytes that one block keeps for one token; `number` is 4 (fp32) or 2 (bf16 autocast).

    Residual stream and norms stay fp32 under autocast; what matrix products read is kept in `number` bytes.
    """
    hidden, attention, keys, width = shape.hidden, shape.attention_width, shape.kv_width, shape.intermediate
    half = number < FLOAT32
    if shape.architecture == "llama":
        # Each of the five projections behind a norm keeps a bf16 copy of its own; in fp32 they share one tensor.
        full = (4 if half else 6) * hidden + 2
        reduced = (5 * hidden if half else 0) + 3 * attention + 2 * keys + 3 * width
    elif shape.architecture == "gpt_neox":
        full = (1 if half else 4) * hidden + 4
        reduced = (3 * hidden if half else 0) + 6 * attention + 2 * width
    else:
        full = (2 if half else 4) * hidden + 4
        reduced = (2 * hidden if half else 0) + 5 * attention + 5 * width
    return FLOAT32 * (full + shape.heads) + number * reduced


def _last_block_bytes(shape: ModelShape, number: int) -> tuple[int, int]:
    """Bytes that the last block keeps for one token, its keys and values, and for one that is read, all the rest."""
    hidden, attention, keys = shape.hidden, shape.attention_width, shape.kv_width
    half = number < FLOAT32
    if shape.architecture == "llama":
        of_each = FLOAT32 * ((2 if half else 3) * hidden + 1) + number * (2 * keys + (2 * hidden if half else 0))
        copied = 0 if half else FLOAT32 * hidden
    elif shape.architecture == "gpt_neox":
        of_each = FLOAT32 * ((1 if half else 2) * hidden + 2) + number * (4 * attention + (hidden if half else 0))
        copied = FLOAT32 * hidden
    else:
        of_each = FLOAT32 * ((1 if half else 2) * hidden + 2) + number * (3 * attention + (hidden if half else 0))
        copied = number * attention
    return of_each, block_bytes(shape, number) - of_each + copied


def _rotary_bytes(shape: ModelShape) -> int:
    """cos and sin of one token; GPT-NeoX turns a quarter of each head."""
    sizes = {"llama": 2 * shape.head_size, "gpt_neox": shape.head_size // 2}
    return FLOAT32 * sizes.get(shape.architecture, 0)


def _edge_bytes(shape: ModelShape, batch: Batch, number: int) -> int:
    """Bytes outside the blocks: ids and rotary tables, the final norm of what is read, and masks."""
    of_each = TOKEN_ID * (1 if shape.architecture != "gpt2" else 2) + _rotary_bytes(shape)
    norm = 2 * shape.hidden + 1 if shape.architecture == "llama" else shape.hidden + 2
    of_read = TOKEN_ID + FLOAT32 * norm + _rotary_bytes(shape)
    return batch.size * of_each + batch.rows * batch.read * of_read + mask_bytes(batch, number)


def mask_bytes(batch: Batch, number: int) -> int:
    """Which tokens of their row see the branches, and the states that are read; plain sequences need no mask."""
    return number * batch.rows * batch.tokens * (batch.branches + batch.read)


def saved_bytes(
    shape: ModelShape, batch: Batch, number: int, *, gradient_checkpointing: bool, lora: LoraConfig | None = None
) -> int:
    """Bytes kept between forward and backward; with `lora` the blocks' own weights are frozen.

    With gradient checkpointing: each block's input.
    """
    edge = _edge_bytes(shape, batch, number)
    if gradient_checkpointing:
        return edge + batch.size * shape.layers * FLOAT32 * shape.hidden
    plain, block = block_bytes(shape, number), _block_bytes(shape, number, lora)
    of_each, of_read = (part * block // plain for part in _last_block_bytes(shape, number))
    blocks = (shape.layers - 1) * block + of_each - (first_block_bytes(shape, lora, number) if lora else 0)
    return edge + batch.size * blocks + batch.rows * batch.read * of_read


def recomputed_bytes(shape: ModelShape, batch: Batch, number: int, *, lora: LoraConfig | None = None) -> int:
    """Bytes that gradient checkpointing recomputes at a time: one block's, but for its input."""
    return batch.size * (_block_bytes(shape, number, lora) - FLOAT32 * shape.hidden)


def _block_bytes(shape: ModelShape, number: int, lora: LoraConfig | None) -> int:
    return block_bytes(shape, number) + (adapter_block_bytes(shape, lora, number) if lora else 0)


def forward_bytes(shape: ModelShape, batch: Batch, number: int, *, lora: LoraConfig | None = None) -> int:
    """Bytes that live at once in a forward without gradient: the residual stream, a block's input, and its insides."""
    return batch.size * 2 * FLOAT32 * shape.hidden + passing_bytes(shape, batch, number, lora=lora)


def decoding_bytes(shape: ModelShape, number: int) -> int:
    """Bytes for one token of a prompt inside a block of our own decoder, at its busiest."""
    hidden, attention, keys, width = shape.hidden, shape.attention_width, shape.kv_width, shape.intermediate
    cast = number if number < FLOAT32 else 0
    gated = shape.architecture == "llama"
    mlp = 3 * FLOAT32 * hidden + (0 if gated else number * hidden) + number * width * (4 if gated else 2)
    repeated = 2 * FLOAT32 * attention if keys < attention else 0
    attending = FLOAT32 * (hidden + 3 * attention + 2 * keys) + cast * (hidden + attention + 2 * keys) + repeated
    return max(mlp, attending)


def passing_bytes(shape: ModelShape, batch: Batch, number: int, *, lora: LoraConfig | None = None) -> int:
    """Bytes inside one block at its busiest, in its MLP or its attention, in a forward that keeps nothing.

    Adapted layers have an output of their own beside the frozen layer's.
    """
    hidden, attention, keys, width = shape.hidden, shape.attention_width, shape.kv_width, shape.intermediate
    half = number < FLOAT32
    if shape.architecture == "llama":
        mlp, adapted = 3 * number * width + 4 * hidden, number * width
        attending = 16 * attention + (8 if half else 12) * keys
    elif shape.architecture == "gpt_neox":
        mlp, adapted = 2 * number * width + 4 * hidden, (4 * width + 3 * hidden if half else 4 * width)
        attending = (14 if half else 24) * hidden
    else:
        # GELU, made of many operations, needs more than adapters, and not at the same time.
        mlp, adapted = 4 * number * width, (3 * hidden if half else 0)
        attending = 16 * attention
    if lora:
        mlp += adapted * adapts_mlp(shape, lora)
        attending += 2 * FLOAT32 * attention
    return batch.size * (max(mlp, attending) + _rotary_bytes(shape)) + mask_bytes(batch, number)


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
