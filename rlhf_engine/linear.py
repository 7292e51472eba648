"""Matrix products of fp32 tensors on a CPU by oneDNN, with their gradients.

torch gives fp32 products to MKL, which on processors of other makers than Intel's runs at less than half of their rate
(docs/performance.md, Updates). bf16 goes to oneDNN anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

LAID_OUT_BYTES = 16 * 2**20
"""Largest part of an output head that oneDNN copies to its own layout at once, where a product takes it in blocks."""


def by_onednn(*tensors: Tensor) -> bool:
    """Whether a product of these goes to oneDNN: fp32 on a CPU, and not to be cast to 16 bits."""
    plain = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
    return plain and torch.backends.mkldnn.is_available() and not torch.is_autocast_enabled("cpu")


def product_dtype(values: Tensor) -> torch.dtype:
    """What matrix products of `values` run in: autocast's dtype where that is on."""
    device = values.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else values.dtype


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """left [n, k] right [m, k]^T + bias [m], without gradient where oneDNN computes it."""
    if not by_onednn(left, right):
        return F.linear(left, right, bias)
    result: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return result


def head_product(states: Tensor, head: Tensor) -> Tensor:
    """states [n, H] head [V, H]^T, [n, V] without gradient: oneDNN never copies more than a block of the head."""
    if not by_onednn(states, head) or head.nbytes <= LAID_OUT_BYTES:
        return product(states, head)
    result = states.new_empty(len(states), len(head))
    for block in _blocks_of(head):
        result[:, block] = product(states, head[block])
    return result


def head_product_transposed(grad: Tensor, head: Tensor) -> Tensor:
    """grad [n, V] head [V, H], [n, H] without gradient: oneDNN never copies more than a block of the head."""
    if not by_onednn(grad, head) or head.nbytes <= LAID_OUT_BYTES:
        return product(grad, head.T)
    result = grad.new_zeros(len(grad), head.shape[1])
    for block in _blocks_of(head):
        result += product(grad[:, block], head[block].T)
    return result


def _blocks_of(head: Tensor) -> Iterator[slice]:
    size = max(LAID_OUT_BYTES // head[0].nbytes, 1)
    return (slice(start, start + size) for start in range(0, len(head), size))


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds left [n, k] right [k, m] to `total` [n, m], in place and, in one dtype, without a tensor of that size."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(states if ctx.needs_input_grad[1] else None, weight)
        return product(states, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        states, weight = ctx.saved_tensors
        of_states, of_weight, of_bias = ctx.needs_input_grad
        return (
            product(grad, weight.T) if of_states else None,
            product(grad.T, states.T) if of_weight else None,
            grad.sum(dim=0) if of_bias else None,
        )


def linear(layer: nn.Module, states: Tensor) -> Tensor:
    """What `layer` makes of `states` [n, k]: a linear layer, GPT-2's of transposed weights, or one with an adapter."""
    weight: Any = layer.weight
    if type(layer) not in (nn.Linear, Conv1D) or not by_onednn(states, weight):
        output: Tensor = layer(states)
        return output
    result: Tensor = _Linear.apply(states, weight.T if type(layer) is Conv1D else weight, layer.bias)  # type: ignore[no-untyped-call]
    return result


class _GatedSiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, states: Tensor) -> Tensor:
        ctx.save_for_backward(gate, states)
        return F.silu(gate).mul_(states)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, states = ctx.saved_tensors
        of_gate = torch.ops.aten.silu_backward(grad * states, gate)
        return of_gate, F.silu(gate).mul_(grad)


def gated_silu(gate: Tensor, states: Tensor) -> Tensor:
    """silu(gate) * states, which keeps its two arguments alone for the backward pass."""
    result: Tensor = _GatedSiLU.apply(gate, states)  # type: ignore[no-untyped-call]
    return result
