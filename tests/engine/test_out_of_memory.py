"""What counts as running out of memory."""

from __future__ import annotations

import pytest
import torch

from rlhf_engine.out_of_memory import is_out_of_memory


def test_an_allocation_that_no_machine_can_serve_counts() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: out of memory"),
    ],
    ids=repr,
)
def test_what_a_device_or_its_libraries_say_counts(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), ValueError("can't allocate memory"), KeyboardInterrupt()], ids=repr
)
def test_other_errors_do_not(error: BaseException) -> None:
    assert not is_out_of_memory(error)
