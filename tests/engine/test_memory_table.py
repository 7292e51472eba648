"""The table of who keeps what, against hand-counted bytes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from engine_models import policy_of, random_rollout
from rlhf_engine.adapters import add_adapter, shared_copy
from rlhf_engine.config import LoraConfig, OptimizerConfig
from rlhf_engine.experience import Experience
from rlhf_engine.memory_table import TableRow, memory_table, tensors_in
from rlhf_engine.optim import ScheduledAdamW

OPTIMIZER = OptimizerConfig(lr=1e-3)
FLOAT = 4


@pytest.fixture
def linear() -> nn.Linear:
    return nn.Linear(8, 4, bias=False)


def trained(model: nn.Module) -> ScheduledAdamW:
    optimizer = ScheduledAdamW(model.named_parameters(), OPTIMIZER, 9)
    sum(parameter.sum() for parameter in model.parameters() if parameter.requires_grad).backward()  # type: ignore[union-attr]
    return optimizer


def test_weights_gradients_moments_and_experience(linear: nn.Linear) -> None:
    """32 weights; two moments each and a step count of one float once a step was taken."""
    optimizer = trained(linear)
    size = 32 * FLOAT
    experience = [torch.zeros(10), torch.zeros(3, dtype=torch.int64)]
    before = [TableRow("policy", "weights", size), TableRow("policy", "gradients", size)]
    assert memory_table({"policy": linear}, [optimizer], []) == before
    optimizer.step()
    after = [TableRow("policy", "weights", size), TableRow("policy", "optimizer", 2 * size + FLOAT)]
    assert memory_table({"policy": linear}, [optimizer], []) == after
    assert memory_table({}, [], experience) == [TableRow("", "experience", 40 + 24)]


def test_the_tensors_of_an_experience_are_found_in_its_rollout_too() -> None:
    rollout = random_rollout()
    experience = Experience(rollout, *(torch.zeros(3) for _ in range(7)))
    expected = [part for part in vars(rollout).values() if isinstance(part, torch.Tensor)]
    found = list(tensors_in(experience))
    assert len(expected) > 1 and len(found) == len(expected) + 7
    assert all(any(part is one for one in found) for part in expected)


def test_what_two_roles_share_counts_once(linear: nn.Linear) -> None:
    """A trunk that both train is the first one's; the second adds its head."""
    critic = nn.Sequential(linear, nn.Linear(4, 1, bias=False))
    rows = memory_table({"policy": linear, "value_model": critic}, [], [])
    assert rows == [TableRow("policy", "weights", 128), TableRow("value_model", "weights", 16)]


def test_views_count_with_their_storage_and_tied_weights_once() -> None:
    model = nn.Module()
    model.register_buffer("part", torch.zeros(100)[:10])
    model.register_buffer("other", model.part[2:])  # type: ignore[index]
    assert memory_table({"policy": model}, [], []) == [TableRow("policy", "weights", 100 * FLOAT)]


def test_a_shared_backbone_is_the_frozen_roles(tokenizer: Any) -> None:
    """With adapters the policy adds no more than its adapter: rank (inputs + outputs) a layer."""
    ref_policy = policy_of(tokenizer).eval().requires_grad_(False)
    policy = shared_copy(ref_policy, ref_policy)
    add_adapter(policy, LoraConfig(rank=2))
    own = sum(parameter.numel() for parameter in policy.parameters() if parameter.requires_grad)
    whole = memory_table({"ref_policy": ref_policy}, [], [])[0].bytes
    rows = memory_table({"policy": policy, "ref_policy": ref_policy}, [], [])
    assert rows == [TableRow("policy", "weights", own * FLOAT), TableRow("ref_policy", "weights", whole)]
