"""Log-probabilities of response tokens: logits for valid response positions only, in chunks, fp32 accumulation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rlhf_engine.linear import add_product, head_product, head_product_transposed, product_dtype
from rlhf_engine.masking import at_least_float32, wide_dtype
from rlhf_engine.models import lm_head_weight
from rlhf_engine.packing import scattered
from rlhf_engine.rollout import Rollout
from rlhf_engine.rollout_states import states_before_actions

CHUNK_BYTES = 32 * 2**20
"""Largest fp32 logits that exist at once; memory for logits grows neither with the batch nor with the prompt."""


def chunk_rows(vocabulary: int) -> int:
    """How many tokens have their logits at once."""
    return max(CHUNK_BYTES // (4 * vocabulary), 16)


def chunk_logits(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """hidden [N, H] weight [V, H]^T / temperature, [N, V] in fp32 or wider."""
    return at_least_float32(head_product(hidden, weight.to(hidden.dtype))).div_(temperature)


def chunks_of_rows(count: int, vocabulary: int) -> Iterator[slice]:
    """So many rows, as many at a time as have their logits at once."""
    size = chunk_rows(vocabulary)
    return (slice(start, start + size) for start in range(0, count, size))


class _SelectedLogProbs(torch.autograd.Function):
    """log softmax(hidden W^T / T)[target] without keeping logits: the backward pass recomputes each chunk."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tensor:
        states, head = hidden.to(product_dtype(hidden)), weight.to(product_dtype(weight))
        normalisers = torch.empty(len(hidden), dtype=wide_dtype(hidden), device=hidden.device)
        selected = torch.empty_like(normalisers)
        for rows in chunks_of_rows(len(hidden), len(weight)):
            logits = chunk_logits(states[rows], head, temperature)
            normalisers[rows] = logits.logsumexp(dim=-1)
            selected[rows] = logits.gather(1, targets[rows, None]).squeeze(1) - normalisers[rows]
        ctx.save_for_backward(states, head, targets, normalisers)
        ctx.temperature, ctx.dtypes = temperature, (hidden.dtype, weight.dtype)
        return selected

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        states, head, targets, normalisers = ctx.saved_tensors
        of_states, of_head = ctx.dtypes
        grad_states = torch.empty_like(states, dtype=of_states)
        grad_head = (
            torch.zeros_like(head, dtype=torch.promote_types(of_head, torch.float32))
            if ctx.needs_input_grad[1]
            else None
        )
        for rows in chunks_of_rows(len(states), len(head)):
            logits = chunk_logits(states[rows], head, ctx.temperature)
            scale = grad[rows, None] / ctx.temperature
            grad_logits = logits.sub_(normalisers[rows, None]).exp_().mul_(-scale)
            grad_logits = grad_logits.scatter_add_(1, targets[rows, None], scale).to(states.dtype)
            grad_states[rows] = head_product_transposed(grad_logits, head).to(of_states)
            if grad_head is not None:
                add_product(grad_head, grad_logits.T, states[rows])
            del logits, grad_logits  # the next chunk would be made beside this one
        return grad_states, None if grad_head is None else grad_head.to(of_head), None, None


def selected_logprobs(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(hidden [N, H] weight [V, H]^T / temperature) at `targets` [N], in nats, [N] in fp32 or wider."""
    result: Tensor = _SelectedLogProbs.apply(hidden, weight, targets, temperature)  # type: ignore[no-untyped-call]
    return result


@torch.no_grad()
def logprobs_and_entropies(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """`selected_logprobs` and the entropies in nats of softmax(hidden [N, H] weight [V, H]^T / temperature), [N] both.

    From the same logits: entropy = logsumexp z - sum of p z.
    """
    hidden, weight = hidden.to(product_dtype(hidden)), weight.to(product_dtype(weight))
    found = torch.empty(2, len(hidden), dtype=wide_dtype(hidden), device=hidden.device)
    for rows in chunks_of_rows(len(hidden), len(weight)):
        logits = chunk_logits(hidden[rows], weight, temperature)
        normalisers = logits.logsumexp(dim=-1)
        found[0, rows] = logits.gather(1, targets[rows, None]).squeeze(1) - normalisers
        logits.sub_(normalisers[:, None])
        found[1, rows] = -torch.linalg.vecdot(logits.exp(), logits)
    return found[0], found[1]


def response_logprobs(model: nn.Module, rollout: Rollout, *, temperature: float = 1.0) -> Tensor:
    """log pi(a_t | s_t) of each response token, fp32 [B, R]; 0 where `response_mask` is False."""
    states = states_before_actions(model, rollout)
    return logprobs_of_states(model, states, rollout, temperature=temperature)


def logprobs_of_states(model: nn.Module, states: Tensor, rollout: Rollout, *, temperature: float = 1.0) -> Tensor:
    """`response_logprobs` from the hidden states before each valid action, [n, H]."""
    mask = rollout.response_mask
    targets = rollout.response_tokens[mask]
    return scattered(selected_logprobs(states, lm_head_weight(model), targets, temperature), mask)


@torch.no_grad()
def response_logprobs_and_entropies(
    model: nn.Module, rollout: Rollout, *, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """`response_logprobs` and the entropy of pi(. | s_t) in nats, both fp32 [B, R], 0 outside the mask."""
    mask = rollout.response_mask
    states = states_before_actions(model, rollout)
    targets = rollout.response_tokens[mask]
    logprobs, entropies = logprobs_and_entropies(states, lm_head_weight(model), targets, temperature)
    return scattered(logprobs, mask), scattered(entropies, mask)
