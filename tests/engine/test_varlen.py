"""Attention in one call for all packed rows is that of rows alone; a GPU's kernel is replaced by its formula."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from engine_models import ARCHITECTURES, policy_of, random_rollout
from rlhf_engine import packing, varlen
from rlhf_engine.config import Architecture
from rlhf_engine.packing import Packed
from rlhf_engine.rollout import Rollout
from rlhf_engine.rollout_states import final_states, states_before_actions, states_of_responses
from rlhf_engine.varlen import Sequences

CPU = torch.device("cpu")
TOLERANCE = 1e-5
"""Relative to the largest; RMS norms compute in fp32 whatever they are given."""


class Kernel:
    """What torch documents: sequences end to end, each query sees the keys up to its own from the end."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, query_ends: Tensor, key_ends: Tensor, longest_query: int,
        longest_key: int, *, scale: float, window_size: tuple[int, int], enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        assert window_size == (-1, 0)
        assert query.shape[-1] % 8 == 0
        assert enable_gqa == (query.shape[1] != key.shape[1])
        self.calls.append((len(query), len(key)))
        group, parts = query.shape[1] // key.shape[1], []
        spans = zip(pairwise(query_ends.tolist()), pairwise(key_ends.tolist()), strict=True)
        for (start, end), (first, last) in spans:
            asking, count = query[start:end], last - first
            assert 0 < len(asking) <= longest_query
            assert len(asking) <= count <= longest_key
            keys, values = (part[first:last].repeat_interleave(group, dim=1) for part in (key, value))
            scores = scale * torch.einsum("qhd,khd->hqk", asking, keys)
            ahead = torch.ones(len(asking), count, dtype=torch.bool).triu(1 + count - len(asking))
            parts.append(torch.einsum("hqk,khd->qhd", scores.masked_fill(ahead, -torch.inf).softmax(-1), values))
        return torch.cat(parts)


def older(kernel: Kernel) -> Callable[..., Tensor]:
    """torch 2.11's, which asks for as many heads of keys as of queries."""

    def attention(*arguments: Any, scale: float, window_size: tuple[int, int]) -> Tensor:
        return kernel(*arguments, scale=scale, window_size=window_size)

    return attention


def use(kernel: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "usable", lambda *_: True)
    monkeypatch.setattr(varlen, "kernel", lambda: kernel)


def siblings() -> Rollout:
    """Three responses to one prompt, one to another, two to a third."""
    prompts = [[3, 4, 5, 6, 7, 8]] * 3 + [[6, 7]] + [[8]] * 2
    responses = [[9, 10, 0], [11], [12, 13], [14, 15, 16, 0], [17, 18], [19, 20, 0]]
    return Rollout.of_texts(prompts, responses, eos_id=0, pad_id=1, device=CPU)


def states(model: Any, rollout: Rollout) -> list[Tensor]:
    """All that is ever read of a rollout, and the gradients of its square."""
    found = [read(model, rollout) for read in (states_before_actions, states_of_responses, final_states)]
    used = [part for name, part in model.base_model.named_parameters()]
    return [*found, *torch.autograd.grad(torch.stack([part.square().sum() for part in found]).sum(), used)]


@pytest.mark.parametrize("rollout", [random_rollout(), siblings()], ids=["rows", "siblings"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_states_and_gradients_are_those_of_row_by_row_attention(
    tokenizer: Any, architecture: Architecture, rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, kernel = policy_of(tokenizer, architecture).double(), Kernel()
    expected = states(model, rollout)
    use(kernel, monkeypatch)
    for ours, theirs in zip(states(model, rollout), expected, strict=True):
        assert float((ours - theirs).abs().max()) <= TOLERANCE * float(theirs.abs().max())
    assert len(kernel.calls) == 3 * 2


@pytest.mark.parametrize("kernel", [Kernel(), older(Kernel())], ids=["torch 2.12", "torch 2.11"])
def test_fewer_heads_of_keys_than_of_queries(kernel: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = AutoConfig.for_model("llama", **sizes, num_key_value_heads=2, vocab_size=33)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").double()
    expected = states(model, siblings())
    use(kernel, monkeypatch)
    for ours, theirs in zip(states(model, siblings()), expected, strict=True):
        assert float((ours - theirs).abs().max()) <= TOLERANCE * float(theirs.abs().max())


def test_plain_rows_are_asked_as_they_lie_and_branches_with_their_stems(monkeypatch: pytest.MonkeyPatch) -> None:
    use(Kernel(), monkeypatch)
    plain = random_rollout()
    packed = Packed.of(plain.token_rows, plain.response_places, torch.float64)
    assert isinstance(packed.attention, Sequences)
    assert packed.attention.keys is None
    assert packed.attention.query_ends.tolist() == packed.attention.key_ends.tolist()
    mask = torch.tensor([[True] * 6])
    tree = packing.Rows(torch.arange(6)[None], torch.tensor([[0, 1, 2, 3, 2, 3]]), torch.tensor([[0, 0, 1, 1, 2, 2]]))
    assert bool(mask.all())
    forked = Packed.of(tree, torch.tensor([1, 2, 1, 4]), torch.float64)
    assert isinstance(forked.attention, Sequences) and isinstance(forked.last_attention, Sequences)
    assert forked.attention.keys is not None and forked.last_attention.keys is not None
    assert forked.attention.keys.tolist() == [0, 1, 0, 1, 2, 3, 0, 1, 4, 5]
    assert forked.attention.query_ends.tolist() == [0, 2, 4, 6]
    assert forked.last_attention.keys.tolist() == [0, 1, 0, 1, 2, 0, 1, 0, 1, 4]
    assert forked.last_attention.query_ends.tolist() == [0, 1, 2, 3, 4]


def test_heads_of_odd_sizes_are_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    use(Kernel(), monkeypatch)
    query, key, value = torch.randn(3, 5, 2, 6, dtype=torch.float64)
    ends = torch.tensor([0, 5], dtype=torch.int32)
    ours = Sequences(None, ends, ends, 5, 5, torch.float64).attended(query, key, value)
    query, key, value = (part.transpose(0, 1)[None] for part in (query, key, value))
    theirs = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert torch.allclose(ours, theirs[0].transpose(0, 1).flatten(1), atol=1e-12)


def test_only_a_gpu_in_16_bits_uses_the_kernel() -> None:
    assert varlen.kernel() is not None
    assert not varlen.usable(CPU, torch.bfloat16)
    assert not varlen.usable(torch.device("cuda"), torch.float32)
