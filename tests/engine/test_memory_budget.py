"""The memory budget: what it counts, exactly, and that it stops an update wherever that would need more."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from rlhf_engine.hooks import NoHooks
from rlhf_engine.memory_budget import CPUBudget, memory_budget
from rlhf_engine.ppo import ppo_update
from small_ppo import PROMPTS, config_with, new_state

KIB = 1024
NO_LIMIT = 1 << 60


def kib(count: int) -> torch.Tensor:
    return torch.zeros(count * KIB, dtype=torch.uint8)


@pytest.fixture
def budget() -> Iterator[CPUBudget]:
    gc.collect()
    with CPUBudget(NO_LIMIT) as counted:
        yield counted


def test_a_tensor_counts_with_its_storage_and_leaves_when_it_dies(budget: CPUBudget) -> None:
    before = budget.in_use
    tensor = kib(3)
    assert budget.in_use == before + 3 * KIB
    del tensor
    assert budget.in_use == before
    assert budget.peak == before + 3 * KIB


def test_views_are_not_counted_twice_and_keep_the_whole_storage(budget: CPUBudget) -> None:
    before = budget.in_use
    tensor = kib(4)
    views = [tensor[:KIB], tensor.view(2, -1), tensor.detach()]
    assert budget.in_use == before + 4 * KIB
    del tensor, views[1:]
    assert budget.in_use == before + 4 * KIB
    views.clear()
    assert budget.in_use == before


def test_work_in_place_needs_nothing_and_a_resized_storage_counts_with_its_new_size(budget: CPUBudget) -> None:
    before = budget.in_use
    tensor = kib(2)
    tensor.add_(1)
    assert budget.in_use == before + 2 * KIB
    tensor.resize_(5 * KIB)
    assert budget.in_use == before + 5 * KIB


def test_what_autograd_saves_counts_until_backward(budget: CPUBudget) -> None:
    """exp saves its result: 4 KiB that no name refers to; the gradient, 4 KiB, stays."""
    leaf = torch.ones(KIB, requires_grad=True)
    before = budget.in_use
    total = leaf.exp().sum()
    assert budget.in_use == before + 4 * KIB + 4
    total.backward()
    del total
    assert budget.in_use == before + 4 * KIB


def test_checkpointed_activations_are_not_kept(budget: CPUBudget) -> None:
    leaf = torch.ones(KIB, requires_grad=True)
    before = budget.in_use
    kept = [checkpoint(lambda x: x.exp().sum(), leaf, use_reentrant=False)]
    assert budget.in_use == before + 4 * len(kept)


def test_what_exists_at_entry_counts_gradients_too() -> None:
    with CPUBudget(NO_LIMIT) as empty:
        before = empty.in_use
    leaf = torch.ones(KIB, requires_grad=True)
    (2 * leaf).sum().backward()
    with CPUBudget(NO_LIMIT) as budget:
        assert budget.in_use == before + 2 * 4 * KIB


def test_the_last_byte_is_served_and_the_next_refused() -> None:
    gc.collect()
    with CPUBudget(NO_LIMIT) as empty:
        before = empty.in_use
    with CPUBudget(before + 2 * KIB) as budget:
        kept = [kib(2)]
        with pytest.raises(torch.OutOfMemoryError, match=r"tried to allocate 1\.0 MiB"):
            kept.append(kib(KIB))
        assert budget.in_use == before + 2 * KIB


ROW_BY_ROW = config_with(
    batch_size=3, minibatches=1, ppo_epochs=1, response_tokens=4, micro_batch_size=1, rollout_batch_size=1
)
"""Nothing left to halve where memory runs out."""


class Limited(NoHooks):
    """Hooks that limit one phase to `extra` bytes above what lives when it begins, and keep what it took."""

    def __init__(self, limited: str, extra: int) -> None:
        self.limited, self.extra = limited, extra
        self.took: dict[str, int] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        if name not in PHASES:
            yield
            return
        if name != self.limited:
            self.took[name] = 0
            yield
            return
        gc.collect()
        with CPUBudget(NO_LIMIT) as budget:
            before = budget.in_use
            budget.limit_bytes = before + self.extra
            yield
            self.took[name] = budget.peak - before


PHASES = ["rollout", "policy logprobs", "reference logprobs", "values", "scores", "update"]


def update(hooks: Limited) -> None:
    ppo_update(new_state(), PROMPTS[:3], ROW_BY_ROW, hooks)


def test_the_phases_are_all_there_are() -> None:
    hooks = Limited("", 0)
    update(hooks)
    assert list(hooks.took) == PHASES


@pytest.mark.parametrize("phase", PHASES)
def test_every_phase_of_a_ppo_update_needs_its_peak_to_the_byte(phase: str) -> None:
    free = Limited(phase, NO_LIMIT >> 1)
    update(free)
    peak = free.took[phase]
    assert peak > 0
    update(Limited(phase, peak))
    for less in (1, peak):
        short = Limited(phase, peak - less)
        with pytest.raises(torch.OutOfMemoryError, match="memory budget"):
            update(short)
        assert PHASES[len(short.took)] == phase


def test_a_lower_budget_for_the_whole_update_stops_it_earlier() -> None:
    """As the limit is lowered the update gets less and less far, and at last not through its first phase."""
    state, hooks = new_state(), Limited("", 0)
    gc.collect()
    with CPUBudget(NO_LIMIT) as budget:
        before = budget.in_use
        ppo_update(state, PROMPTS[:3], ROW_BY_ROW, hooks)
        peak = budget.peak - before
    reached = [phases_reached(share * peak // 5) for share in range(5, -1, -1)]
    assert reached == sorted(reached, reverse=True)
    assert reached[0] == len(PHASES) and reached[-1] == 1


def phases_reached(extra: int) -> int:
    """How many phases an update begins with `extra` bytes beside its models."""
    state, hooks = new_state(), Limited("", 0)
    gc.collect()
    with suppress(torch.OutOfMemoryError), CPUBudget(NO_LIMIT) as budget:
        budget.limit_bytes = budget.in_use + extra
        ppo_update(state, PROMPTS[:3], ROW_BY_ROW, hooks)
    return len(hooks.took)


def test_on_cuda_the_allocator_keeps_the_limit_and_gets_its_own_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fractions = [0.9]
    properties = SimpleNamespace(total_memory=80 << 30)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: properties)
    monkeypatch.setattr("torch.cuda.get_per_process_memory_fraction", lambda device: fractions[-1])
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", lambda share, device: fractions.append(share))
    device = torch.device("cuda", 0)
    with pytest.raises(ValueError, match="within"), memory_budget(20 << 30, device):
        raise ValueError("within")
    with memory_budget(200 << 30, device):
        pass
    assert fractions == [0.9, 0.25, 0.9, 1.0, 0.9]


def test_no_limit_is_no_mode() -> None:
    with memory_budget(0):
        assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
