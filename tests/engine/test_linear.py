"""Products by oneDNN: torch's own values and gradients, in every layout that the trunk uses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from rlhf_engine.linear import (
    add_product,
    by_onednn,
    gated_silu,
    head_product,
    head_product_transposed,
    linear,
    product,
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def layer_of(kind: str) -> Any:
    torch.manual_seed(0)
    layers = {"biased": nn.Linear(12, 20), "plain": nn.Linear(12, 20, bias=False), "transposed": Conv1D(20, 12)}
    return layers[kind]


def output_and_gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    weights = torch.randn(output.shape, generator=generator())
    return [output, *torch.autograd.grad((output * weights).sum(), inputs)]


@pytest.mark.parametrize("kind", ["biased", "plain", "transposed"])
def test_a_layer_is_what_torch_makes_of_it(kind: str) -> None:
    layer, states = layer_of(kind), torch.randn(7, 12, generator=generator(), requires_grad=True)
    inputs = [states, *layer.parameters()]
    ours, theirs = (output_and_gradients(output, inputs) for output in (linear(layer, states), layer(states)))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_frozen_weights_keep_nothing_of_their_input() -> None:
    layer, states = layer_of("plain").requires_grad_(False), torch.randn(7, 12, requires_grad=True)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = linear(layer, states)
    assert kept == [layer.weight.data_ptr()]
    (gradient,) = torch.autograd.grad(output.sum(), states)
    assert torch.allclose(gradient, layer.weight.sum(dim=0).expand(7, 12), atol=1e-6)


def test_half_precision_and_float64_stay_with_torch() -> None:
    left, right = torch.randn(3, 4), torch.randn(5, 4)
    assert by_onednn(left, right)
    assert not by_onednn(left.double(), right.double())
    assert product(left.double(), right.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert not by_onednn(left, right)
        assert product(left, right).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_is_added_in_the_totals_precision(dtype: torch.dtype) -> None:
    left, right = (torch.randn(size, generator=generator()).to(dtype) for size in ((6, 5), (5, 4)))
    total = torch.ones(6, 4)
    add_product(total, left, right)
    assert torch.allclose(total, 1.0 + left.float() @ right.float(), atol=1e-5 if dtype == torch.float32 else 0.05)


def test_gated_silu_and_its_gradients() -> None:
    gate, states = (torch.randn(6, 5, generator=generator(), dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.allclose(gated_silu(gate, states), F.silu(gate) * states)
    assert torch.autograd.gradcheck(gated_silu, (gate, states))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_output_head_in_blocks_is_the_whole_head(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    states, head = (torch.randn(rows, 6, generator=generator()).to(dtype) for rows in (5, 23))
    grad = torch.randn(5, 23, generator=generator()).to(dtype)
    expected = states @ head.T, grad @ head
    monkeypatch.setattr("rlhf_engine.linear.LAID_OUT_BYTES", 4 * 6 * 10)
    ours = head_product(states, head), head_product_transposed(grad, head)
    for a, b in zip(ours, expected, strict=True):
        assert a.dtype == dtype
        assert torch.allclose(a, b, atol=1e-5)
