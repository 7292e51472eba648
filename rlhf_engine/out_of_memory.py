"""Whether an error says that memory ran out, on the device or on the host."""

from __future__ import annotations

import torch

_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Of torch's CPU allocator, its CUDA allocator, the driver, and the libraries that ask the driver themselves."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch could have avoided `error`; libraries' plain RuntimeErrors are told by their words."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
