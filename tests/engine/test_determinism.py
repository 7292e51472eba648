"""Deterministic operations: chosen for the whole process, and refused where there are none."""

from collections.abc import Iterator

import pytest
import torch

from rlhf_engine.models import choose_determinism


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    yield
    torch.use_deterministic_algorithms(False)


def put() -> torch.Tensor:
    """Torch documents it as not deterministic, on a CPU too: of two values for one place, either may stay."""
    return torch.zeros(2).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))


def test_an_operation_without_a_deterministic_kernel_is_named() -> None:
    choose_determinism(True)
    with pytest.raises(RuntimeError, match=r"put_.*deterministic"):
        put()


def test_without_it_nothing_is_refused_even_after_a_run_that_asked_for_it() -> None:
    choose_determinism(True)
    choose_determinism(False)
    assert put()[1] == 0
