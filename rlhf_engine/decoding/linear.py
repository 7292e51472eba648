"""Weights of linear layers as decoding reads them: one copy, in the precision and layout that is fastest there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PACKED_FOR_ROWS = 64
"""oneDNN chooses its blocks for so many rows; any number can be multiplied."""
PACKABLE = (torch.float32, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Linear:
    """x W^T + b in the weight's precision, whatever that of x; `packed`: the weight is in oneDNN's own layout."""

    weight: Tensor
    bias: Tensor | None
    packed: bool

    @classmethod
    def laid_out(cls, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Linear:
        """A copy of weight [out, in] and bias [out] in `dtype`; on a CPU packed by oneDNN, where it can."""
        weight = weight.to(dtype)
        packed = weight.device.type == "cpu" and dtype in PACKABLE and torch.backends.mkldnn.is_available()
        if packed:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PACKED_FOR_ROWS)
        return cls(weight, None if bias is None else bias.to(dtype), packed)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if not self.packed:
            return F.linear(x, self.weight, self.bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return product

    def added_to(self, total: Tensor, x: Tensor) -> Tensor:
        """total + x W^T + b: one operation where oneDNN has it."""
        if not self.packed or not total.dtype == x.dtype == self.weight.dtype:
            return total + self(x)
        summed: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, total, self.weight, self.bias, "add")
        return summed
