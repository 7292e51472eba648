"""What decoding needs of a network, the same for every family; families.py fills it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf_engine.decoding.linear import Linear
from rlhf_engine.masking import wide_dtype

Pointwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """`queries` heads of `size`, of which each key head serves the same number; softmax(scale q k) v."""

    queries: int
    keys: int
    size: int
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One transformer block. `query_key_value` gives all heads' queries, then keys, then values; pairs of a head's
    elements that rotate together are neighbours. `gated`: the first half of `mlp_in` gates the second. `parallel`:
    attention and MLP read the same residual stream.
    """

    heads: Heads
    attention_norm: Pointwise
    query_key_value: Linear
    attention_out: Linear
    mlp_norm: Pointwise
    mlp_in: Linear
    activation: Pointwise
    mlp_out: Linear
    gated: bool
    parallel: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A causal language model. `position_embedding` [N, H] or None; `rotations(n)` gives complex [n, head size / 2],
    the factor of each pair at each position, or None.
    """

    embedding: Tensor
    position_embedding: Tensor | None
    rotations: Callable[[int], Tensor | None]
    blocks: list[Block]
    final_norm: Pointwise
    head: Linear

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    @property
    def attention_dtype(self) -> torch.dtype:
        """Precision of attention. On a CPU never 16 bits: for one query it would take twice as long."""
        return wide_dtype(self.embedding) if self.device.type == "cpu" else self.cache_dtype

    @property
    def cache_dtype(self) -> torch.dtype:
        """Precision in which keys and values are kept: that of the products."""
        return self.head.weight.dtype
