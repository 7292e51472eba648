"""65 and 67: what bf16 costs and where half precision ends; attention back-ends and compiled models."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine_models import ARCHITECTURES, policy_of, random_rollout, scalar_model_of, word_tokenizer
from rlhf_engine.config import Architecture
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.losses import probability_ratio
from rlhf_engine.models import compute_precision
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import response_scores, response_values

CPU = torch.device("cpu")


def logprobs_in(policy: Any, rollout: Rollout, compute: Any) -> Tensor:
    with torch.no_grad(), compute_precision(CPU, compute):
        return response_logprobs(policy, rollout)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_65_bf16_moves_log_probabilities_by_a_bounded_amount(architecture: Architecture) -> None:
    """The table in docs/numerics.md (Precision) has the figures of a PPO update: `python -m benchmarks precision`."""
    policy, rollout = policy_of(word_tokenizer(), architecture), random_rollout(60)
    exact, rough = (logprobs_in(policy, rollout, compute) for compute in ("float32", "bfloat16"))
    error = (exact - rough)[rollout.response_mask].abs()
    assert rough.dtype == torch.float32
    assert 0 < float(error.mean()) < 0.03
    assert float(error.max()) < 0.3


def test_65_logits_become_log_probabilities_in_fp32() -> None:
    """Over a uniform distribution of 33 tokens -ln 33 is exact to fp32, which bf16 can't hold."""
    policy, rollout = policy_of(word_tokenizer()), random_rollout()
    with torch.no_grad():
        policy.get_output_embeddings().weight.zero_()
    found = logprobs_in(policy, rollout, "bfloat16")[rollout.response_mask]
    assert torch.allclose(found, torch.full_like(found, -math.log(33)), atol=1e-6)
    assert abs(float(torch.tensor(-math.log(33)).bfloat16()) + math.log(33)) > 1e-3


def test_65_the_ratio_of_equal_bf16_forwards_is_exactly_1() -> None:
    policy, rollout = policy_of(word_tokenizer()), random_rollout()
    first, again = (logprobs_in(policy, rollout, "bfloat16") for _ in range(2))
    assert torch.equal(probability_ratio(first, again, rollout.response_mask), torch.ones_like(first))


@pytest.mark.parametrize(
    ("dtype", "last", "first"),
    [(torch.float16, 11.0859375, 11.09375), (torch.bfloat16, 88.5, 89.0), (torch.float32, 88.72, 88.73)],
)
def test_65_exp_overflows_where_the_formats_end(dtype: torch.dtype, last: float, first: float) -> None:
    """ln 65504 = 11.09; the largest bf16 and fp32 numbers have logarithm 88.7, where bf16 counts by halves."""
    assert math.isfinite(float(torch.tensor(last, dtype=dtype).exp()))
    assert math.isinf(float(torch.tensor(first, dtype=dtype).exp()))


def test_65_bf16_steps_by_2_to_the_minus_8_at_most() -> None:
    numbers = torch.linspace(1.0, 2.0, 10_000)
    relative = (numbers.bfloat16().float() - numbers).abs() / numbers
    assert float(relative.max()) == pytest.approx(2**-8, rel=0.02)


def test_65_ratios_stay_finite_at_any_log_ratio_that_fp32_holds() -> None:
    policy = torch.tensor([[-1.0, -88.0]])
    sampling = torch.tensor([[-89.0, -0.5]])
    assert bool(torch.isfinite(probability_ratio(policy, sampling, torch.ones(1, 2, dtype=torch.bool))).all())


def everything(architecture: Architecture, attention: str, device: torch.device = CPU) -> list[Tensor]:
    """Log-probabilities, their gradients, values and scores by one attention back-end."""
    torch.manual_seed(7)
    policy = policy_of(word_tokenizer(), architecture, attention=attention).to(device)
    scalar = scalar_model_of(word_tokenizer(), architecture, attention=attention).to(device)
    rollout = random_rollout()
    logprobs = response_logprobs(policy, rollout)
    gradients = torch.autograd.grad(logprobs.sum(), list(policy.parameters()))
    with torch.no_grad():
        return [logprobs.detach(), *gradients, response_values(scalar, rollout), response_scores(scalar, rollout)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_67_eager_and_sdpa_attention_agree(architecture: Architecture) -> None:
    for eager, sdpa in zip(everything(architecture, "eager"), everything(architecture, "sdpa"), strict=True):
        assert float((eager - sdpa).abs().max()) <= 1e-4 * max(float(eager.abs().max()), 1.0)


def test_67_a_compiled_backbone_computes_the_same() -> None:
    """`aot_eager` traces forward and backward as the compiler does, but needs no C++ tool chain and little time."""
    policy, rollout = policy_of(word_tokenizer()), random_rollout()
    plain = response_logprobs(policy, rollout)
    expected = [plain, *torch.autograd.grad(plain.sum(), list(policy.parameters()))]
    policy.base_model.forward = torch.compile(policy.base_model.forward, backend="aot_eager")
    compiled = response_logprobs(policy, rollout)
    for a, b in zip(expected, [compiled, *torch.autograd.grad(compiled.sum(), list(policy.parameters()))], strict=True):
        assert float((a - b).abs().max()) <= 1e-4 * max(float(a.abs().max()), 1.0)
