"""KL between two language models' next-token distributions: in chunks, fp32, logits never kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rlhf_engine.logprobs import chunk_logits, chunk_rows
from rlhf_engine.models import lm_head_weight
from rlhf_engine.packing import scattered
from rlhf_engine.rollout import Rollout
from rlhf_engine.rollout_states import states_before_actions


def _chunks(count: int, vocabulary: int, device: torch.device) -> tuple[Tensor, ...]:
    chunks: tuple[Tensor, ...] = torch.arange(count, device=device).split(chunk_rows(vocabulary))
    return chunks


class _DivergencesFrom(torch.autograd.Function):
    """sum_v p(v) (log p(v) - log q(v)) with gradient to q's hidden states and head; the backward pass recomputes."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, teacher_hidden: Tensor, teacher_weight: Tensor, temperature: float
    ) -> Tensor:
        found = [hidden.new_zeros(0, dtype=torch.float32)]
        for rows in _chunks(len(hidden), len(weight), hidden.device):
            log_q = chunk_logits(hidden[rows], weight, temperature).log_softmax(dim=-1)
            log_p = chunk_logits(teacher_hidden[rows], teacher_weight, temperature).log_softmax(dim=-1)
            found.append((log_p.exp() * (log_p - log_q)).sum(dim=-1))
        ctx.save_for_backward(hidden, weight, teacher_hidden, teacher_weight)
        ctx.temperature = temperature
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        hidden, weight, teacher_hidden, teacher_weight = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for rows in _chunks(len(hidden), len(weight), hidden.device):
            q = chunk_logits(hidden[rows], weight, ctx.temperature).softmax(dim=-1)
            p = chunk_logits(teacher_hidden[rows], teacher_weight, ctx.temperature).softmax(dim=-1)
            grad_logits = ((q - p) * (grad[rows] / ctx.temperature)[:, None]).to(hidden.dtype)
            grad_hidden[rows] = grad_logits @ weight.to(hidden.dtype)
            if grad_weight is not None:
                grad_weight += (grad_logits.T @ hidden[rows]).to(weight.dtype)
        return grad_hidden, grad_weight, None, None, None


def divergences(
    hidden: Tensor, weight: Tensor, teacher_hidden: Tensor, teacher_weight: Tensor, temperature: float = 1.0
) -> Tensor:
    """KL(p || q) in nats, fp32 [N]: p = softmax(teacher_hidden [N, G] teacher_weight [V, G]^T / temperature), and q
    that of hidden [N, H] and weight [V, H]. The gradient reaches `hidden` and `weight` alone.
    """
    result: Tensor = _DivergencesFrom.apply(  # type: ignore[no-untyped-call]
        hidden, weight, teacher_hidden.detach(), teacher_weight.detach(), temperature
    )
    return result


def response_divergences(
    student: nn.Module, teacher: nn.Module, rollout: Rollout, *, temperature: float = 1.0
) -> Tensor:
    """KL(teacher || student) of the next token at each response token, in nats, fp32 [B, R]; 0 outside the mask."""
    mask = rollout.response_mask
    with torch.no_grad():
        teacher_states = states_before_actions(teacher, rollout)
    states = states_before_actions(student, rollout)
    found = divergences(states, lm_head_weight(student), teacher_states, lm_head_weight(teacher), temperature)
    return scattered(found, mask)
