"""Bytes that autograd keeps for the backward pass, by closed form for each family. Torch-free.

Counted from the operations of transformers' blocks with fused attention; a test holds them against what autograd
really saves.
"""

from __future__ import annotations

from rlhf_engine.adapter_sizes import adapter_block_bytes
from rlhf_engine.config import LoraConfig
from rlhf_engine.known_models import ModelShape

FLOAT32 = 4
TOKEN_ID = 8


def block_bytes(shape: ModelShape, tokens: int, number: int) -> int:
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
    return FLOAT32 * (full + shape.heads) + number * (reduced + tokens)


def _edge_bytes(shape: ModelShape) -> int:
    """Bytes for one token outside the blocks: ids, rotary tables, and the final norm."""
    rotary = 2 * shape.head_size if shape.architecture == "llama" else shape.head_size // 2
    positions = 0 if shape.architecture != "gpt2" else TOKEN_ID
    norm = 2 * shape.hidden + 1 if shape.architecture == "llama" else shape.hidden + 2
    return TOKEN_ID + positions + FLOAT32 * (norm + (0 if shape.architecture == "gpt2" else rotary))


def saved_bytes(
    shape: ModelShape,
    rows: int,
    tokens: int,
    number: int,
    *,
    gradient_checkpointing: bool,
    lora: LoraConfig | None = None,
) -> int:
    """Bytes kept between forward and backward for [rows, tokens] ids; with `lora` the blocks' own weights are frozen.

    With gradient checkpointing: each block's input, and everything within the one block that is being recomputed.
    """
    block = block_bytes(shape, tokens, number) + (adapter_block_bytes(shape, lora, number) if lora else 0)
    blocks = shape.layers * FLOAT32 * shape.hidden + block if gradient_checkpointing else shape.layers * block
    return rows * tokens * (blocks + _edge_bytes(shape))


def forward_bytes(shape: ModelShape, rows: int, tokens: int, number: int) -> int:
    """Bytes that live at once in a forward without gradient: one block, and the hidden states."""
    return rows * tokens * (block_bytes(shape, tokens, number) + FLOAT32 * shape.hidden)


def backward_buffer_bytes(shape: ModelShape, rows: int, tokens: int, number: int) -> int:
    """Bytes of gradients of activations on their way through one block."""
    return rows * tokens * block_bytes(shape, tokens, number)
