"""The weights of a model as the tensors that they are, for layouts that cut or deal tensors. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rlhf_engine.adapter_sizes import adapted_layers
from rlhf_engine.config import LoraConfig
from rlhf_engine.known_models import ModelShape


class Tensor(NamedTuple):
    """`rows` along the first dimension, of `width` numbers each."""

    rows: int
    width: int = 1

    @property
    def numbers(self) -> int:
        return self.rows * self.width


Tensors = Sequence[Tensor]


def numbers(tensors: Iterable[Tensor]) -> int:
    """In all of them."""
    return sum(tensor.numbers for tensor in tensors)


def block_tensors(shape: ModelShape) -> Tensors:
    """Of one block: linear layers, their biases, and norms."""
    hidden, width, attention, keys = shape.hidden, shape.intermediate, shape.attention_width, shape.kv_width
    norms = [Tensor(hidden)] * (2 if shape.architecture == "llama" else 4)
    if shape.architecture == "llama":
        projections = [Tensor(attention, hidden), *[Tensor(keys, hidden)] * 2, Tensor(hidden, attention)]
        return [*projections, *[Tensor(width, hidden)] * 2, Tensor(hidden, width), *norms]
    biases = [Tensor(3 * hidden), Tensor(hidden), Tensor(width), Tensor(hidden)]
    if shape.architecture == "gpt_neox":
        linear = [Tensor(3 * hidden, hidden), Tensor(hidden, hidden), Tensor(width, hidden), Tensor(hidden, width)]
    else:
        # GPT-2 keeps inputs along the first dimension.
        linear = [Tensor(hidden, 3 * hidden), Tensor(hidden, hidden), Tensor(hidden, width), Tensor(width, hidden)]
    return [*linear, *biases, *norms]


def root_tensors(shape: ModelShape, *, output_head: bool) -> Tensors:
    """What belongs to no block: embeddings, final norm, and with `output_head` the head, where it is a tensor apart."""
    embeddings = [Tensor(shape.vocabulary, shape.hidden)]
    if shape.architecture == "gpt2":
        embeddings.append(Tensor(shape.positions, shape.hidden))
    norm = [Tensor(shape.hidden)] * (1 if shape.architecture == "llama" else 2)
    head = [Tensor(shape.vocabulary, shape.hidden)] if output_head and not shape.tied else []
    return [*embeddings, *norm, *head]


def score_tensors(shape: ModelShape) -> Tensors:
    """The heads that read scores or values."""
    if not shape.mlp_heads:
        return [Tensor(shape.score_heads, shape.hidden)]
    return [
        Tensor(shape.score_heads, shape.hidden * shape.hidden),
        Tensor(shape.score_heads, shape.hidden),
        Tensor(shape.score_heads, shape.hidden),
    ]


def adapter_tensors(shape: ModelShape, lora: LoraConfig) -> Tensors:
    """Both factors of each adapted layer of all blocks."""
    one_block = [
        factor
        for inputs, outputs in adapted_layers(shape, lora)
        for factor in (Tensor(lora.rank, inputs), Tensor(outputs, lora.rank))
    ]
    return one_block * shape.layers
