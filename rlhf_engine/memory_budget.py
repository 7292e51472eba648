"""A limit on memory: whoever allocates beyond it gets `torch.OutOfMemoryError`, on any device."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_CPU = torch.device("cpu")
_PACKED: torch.layout = getattr(torch, "_mkldnn")  # noqa: B009 - its stub leaves it out
_MIB = 1 << 20


@contextmanager
def memory_budget(limit_bytes: int, device: torch.device = _CPU) -> Iterator[None]:
    """Limits the memory of `device` within; 0 is no limit.

    On CUDA the caching allocator keeps the limit. On a CPU live tensors are counted at every operation, which takes
    some ten microseconds each; what an operation needs only while it runs is not counted.
    Raises torch.OutOfMemoryError from the operation that exceeds the limit.
    """
    if not limit_bytes:
        yield
    elif device.type == "cuda":
        before = torch.cuda.get_per_process_memory_fraction(device)
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(limit_bytes / total, 1.0), device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(before, device)
    else:
        with CPUBudget(limit_bytes):
            yield


class CPUBudget(TorchDispatchMode):
    """Counts the bytes of live CPU storages, each once however many tensors view it, saved activations included.

    `in_use` is what lives now, `peak` the most that lived at once since entry.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limit_bytes = limit_bytes
        self.in_use = self.peak = 0
        self._live: dict[int, tuple[weakref.ref[Any], int]] = {}

    def storage_sizes(self) -> list[int]:
        """Bytes of every live storage, the largest first."""
        return sorted((size for _, size in self._live.values()), reverse=True)

    def __enter__(self) -> Self:
        for tensor in _existing_tensors():
            self._count(tensor)
        self.peak = self.in_use
        super().__enter__()  # type: ignore[no-untyped-call]
        _in_force.append(self)
        return self

    def __exit__(self, *details: Any) -> None:
        _in_force.remove(self)
        super().__exit__(*details)  # type: ignore[no-untyped-call]
        self._live.clear()
        self.in_use = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.in_use
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        if self.in_use > max(before, self.limit_bytes):
            needed = self.in_use - before
            del result, leaf  # the traceback holds this frame: what was refused must not live on in it
            raise torch.OutOfMemoryError(self._refusal(func, needed, before))
        self.peak = max(self.peak, self.in_use)
        return result

    def _count(self, tensor: Tensor) -> None:
        if tensor.device.type != "cpu" or tensor.layout not in (torch.strided, _PACKED):
            return
        if tensor.layout == torch.strided:
            held: Any = tensor.untyped_storage()
            key, size = held._cdata, held.nbytes()
        else:  # weights in oneDNN's own layout have no storage that torch knows
            held, key, size = tensor, id(tensor), tensor.numel() * tensor.itemsize
        reference, counted = self._live.get(key, (None, 0))
        if size != counted:
            self._live[key] = reference or weakref.ref(held, partial(self._forget, key)), size
            self.in_use += size - counted

    def _forget(self, key: int, _dead: object) -> None:
        if key in self._live:
            self.in_use -= self._live.pop(key)[1]

    def _refusal(self, func: Any, needed: int, before: int) -> str:
        return (
            f"memory budget of {self.limit_bytes / _MIB:.1f} MiB: {func} tried to allocate {needed / _MIB:.1f} MiB "
            f"with {before / _MIB:.1f} MiB in use"
        )


_in_force: list[CPUBudget] = []


def budget_in_force() -> CPUBudget | None:
    """The innermost budget on the CPU, if any."""
    return _in_force[-1] if _in_force else None


def _existing_tensors() -> Iterator[Tensor]:
    """Every tensor that Python knows, and the gradients, which it may not have seen."""
    for thing in gc.get_objects():
        if issubclass(type(thing), Tensor):
            yield thing
            if thing.is_leaf and thing.grad is not None:
                yield thing.grad
