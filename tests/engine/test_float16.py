"""float16: refused unless asked for; where it is, log-probabilities and losses are fp32 all the same."""

from typing import Any

import pytest
import torch

from engine_models import policy_of, random_rollout
from rlhf_engine.config import PrecisionConfig
from rlhf_engine.errors import ConfigError
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.models import check_precision, compute_precision


def test_float16_is_refused_with_the_reason_unless_it_is_insisted_on() -> None:
    with pytest.raises(ConfigError, match=r"11\.09.*allow_float16"):
        check_precision(PrecisionConfig(compute="float16"))
    check_precision(PrecisionConfig(compute="float16", allow_float16=True))
    check_precision(PrecisionConfig(compute="bfloat16"))


def test_the_log_ratio_of_the_message_is_where_float16_ends() -> None:
    assert torch.isfinite(torch.tensor(11.08).exp().half())
    assert torch.isinf(torch.tensor(11.1).exp().half())


def test_in_float16_log_probabilities_are_fp32_and_near_the_exact_ones(tokenizer: Any) -> None:
    policy, rows = policy_of(tokenizer), random_rollout()
    exact = response_logprobs(policy, rows)
    with compute_precision(torch.device("cpu"), "float16"):
        rounded = response_logprobs(policy, rows)
    assert rounded.dtype == torch.float32
    assert 0.0 < float((rounded - exact).abs().max()) < 0.02
    rounded.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in policy.parameters())
