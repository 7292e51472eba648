"""Log-probabilities of response tokens: logits for valid response positions only, in chunks, fp32 accumulation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rlhf_engine.masking import at_least_float32
from rlhf_engine.models import hidden_states, lm_head_weight
from rlhf_engine.rollout import Rollout

CHUNK_BYTES = 32 * 2**20
"""Largest fp32 logits that exist at once; memory for logits grows neither with the batch nor with the prompt."""


def chunk_rows(vocabulary: int) -> int:
    """How many tokens have their logits at once."""
    return max(CHUNK_BYTES // (4 * vocabulary), 16)


def chunk_logits(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """hidden [N, H] weight [V, H]^T / temperature, [N, V] in fp32 or wider."""
    return at_least_float32(hidden @ weight.to(hidden.dtype).T).div_(temperature)


class _SelectedLogProbs(torch.autograd.Function):
    """log softmax(hidden W^T / T)[target] without keeping logits: the backward pass recomputes each chunk."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tensor:
        selected, normalisers = [], []
        for rows in torch.arange(len(targets), device=hidden.device).split(chunk_rows(len(weight))):
            logits = chunk_logits(hidden[rows], weight, temperature)
            normaliser = logits.logsumexp(dim=-1)
            selected.append(logits.gather(1, targets[rows, None]).squeeze(1) - normaliser)
            normalisers.append(normaliser)
        ctx.save_for_backward(
            hidden, weight, targets, torch.cat([hidden.new_zeros(0, dtype=torch.float32), *normalisers])
        )
        ctx.temperature = temperature
        return torch.cat([hidden.new_zeros(0, dtype=torch.float32), *selected])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        hidden, weight, targets, normalisers = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for rows in torch.arange(len(targets), device=hidden.device).split(chunk_rows(len(weight))):
            logits = chunk_logits(hidden[rows], weight, ctx.temperature)
            scale = grad[rows] / ctx.temperature
            grad_logits = (logits - normalisers[rows, None]).exp_().mul_(-scale[:, None])
            grad_logits.scatter_add_(1, targets[rows, None], scale[:, None])
            grad_logits = grad_logits.to(hidden.dtype)
            grad_hidden[rows] = grad_logits @ weight.to(hidden.dtype)
            if grad_weight is not None:
                grad_weight += (grad_logits.T @ hidden[rows]).to(weight.dtype)
        return grad_hidden, grad_weight, None, None


def selected_logprobs(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(hidden [N, H] weight [V, H]^T / temperature) at `targets` [N], in nats, fp32 [N]."""
    result: Tensor = _SelectedLogProbs.apply(hidden, weight, targets, temperature)  # type: ignore[no-untyped-call]
    return result


@torch.no_grad()
def distribution_entropies(hidden: Tensor, weight: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropy in nats, fp32 [N], of softmax(hidden [N, H] weight [V, H]^T / temperature)."""
    entropies = [hidden.new_zeros(0, dtype=torch.float32)]
    for chunk in hidden.split(chunk_rows(len(weight))):
        logprobs = chunk_logits(chunk, weight, temperature).log_softmax(dim=-1)
        entropies.append(-(logprobs.exp() * logprobs).sum(dim=-1))
    return torch.cat(entropies)


def scattered(values: Tensor, mask: Tensor) -> Tensor:
    """[B, R] with `values` [N] at the N places where `mask` [B, R] is True, in order; 0 elsewhere."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)


def response_logprobs(model: nn.Module, rollout: Rollout, *, temperature: float = 1.0) -> Tensor:
    """log pi(a_t | s_t) of each response token, fp32 [B, R]; 0 where `response_mask` is False."""
    states = rollout.acting_states(hidden_states(model, rollout.tokens, rollout.mask))
    return logprobs_of_states(model, states, rollout, temperature=temperature)


def logprobs_of_states(model: nn.Module, states: Tensor, rollout: Rollout, *, temperature: float = 1.0) -> Tensor:
    """`response_logprobs` from the hidden states before each action, [B, R, H]."""
    mask = rollout.response_mask
    targets = rollout.response_tokens[mask]
    return scattered(selected_logprobs(states[mask], lm_head_weight(model), targets, temperature), mask)


@torch.no_grad()
def response_logprobs_and_entropies(
    model: nn.Module, rollout: Rollout, *, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """`response_logprobs` and the entropy of pi(. | s_t) in nats, both fp32 [B, R], 0 outside the mask."""
    states = rollout.acting_states(hidden_states(model, rollout.tokens, rollout.mask))[rollout.response_mask]
    targets = rollout.response_tokens[rollout.response_mask]
    logprobs = selected_logprobs(states, lm_head_weight(model), targets, temperature)
    entropies = distribution_entropies(states, lm_head_weight(model), temperature)
    return scattered(logprobs, rollout.response_mask), scattered(entropies, rollout.response_mask)
