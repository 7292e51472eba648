"""Attention of packed rows in one call, by torch's kernel for sequences of unequal lengths: on a GPU, in 16 bits.

A sequence's queries are the last of its keys, and each sees the keys up to itself. The stem is a sequence; a branch is
another, whose keys are the stem's and its own, so that no mask is needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)
AMPERE = (8, 0)
"""The least compute capability that the kernel runs on."""
HEAD_SIZE_STEP = 8
"""The kernel takes multiples of so many numbers a head."""


def kernel() -> Callable[..., Any] | None:
    """torch's, from 2.11 on; None where it has none that masks what is ahead."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if "window_size" in inspect.signature(varlen_attn).parameters else None


def usable(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether attention in `dtype` on `device` can go through the kernel."""
    if device.type != "cuda" or dtype not in HALF or kernel() is None:
        return False
    return torch.cuda.get_device_capability(device) >= AMPERE


@dataclass(frozen=True)
class Sequences:
    """Attention of packed tokens. `keys` [k]: which tokens' keys stand behind one another; None: all, as they are.

    `query_ends`, `key_ends`: int32 [sequences + 1], where each sequence ends among queries and keys, from 0 on.
    """

    keys: Tensor | None
    query_ends: Tensor
    key_ends: Tensor
    longest_query: int
    longest_key: int
    dtype: torch.dtype

    def attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Queries [n, heads, D] to keys and values [N, key heads, D]: [n, heads * D]."""
        if self.keys is not None:
            key, value = key[self.keys], value[self.keys]
        size = query.shape[-1]
        padding = -size % HEAD_SIZE_STEP
        query, key, value = (F.pad(part.to(self.dtype), (0, padding)) for part in (query, key, value))
        return self._causal(query, key, value, scale=size**-0.5)[..., :size].flatten(1)

    def _causal(self, query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
        attention: Any = kernel()
        ends = (self.query_ends, self.key_ends, self.longest_query, self.longest_key)
        settings: dict[str, Any] = {"scale": scale, "window_size": (-1, 0)}
        if query.shape[1] != key.shape[1]:
            if "enable_gqa" in inspect.signature(attention).parameters:
                settings["enable_gqa"] = True
            else:
                key, value = (part.repeat_interleave(query.shape[1] // part.shape[1], dim=1) for part in (key, value))
        result: Tensor = attention(query, key, value, *ends, **settings)
        return result


def sequences_of(branches: Tensor, rows: Tensor, read: Tensor, dtype: torch.dtype) -> Sequences:
    """What the tokens `read` [n] (numbers of packed tokens, row by row) attend to.

    `branches`, `rows` [N]: of each packed token, its branch (0: the stem) and its row.
    """
    asking = list(_runs(*(part.cpu() for part in (branches, rows, read))))
    seen = [part for run in asking for part in run.keys]
    keys = torch.cat([torch.arange(*part) for part in seen])
    all_in_order = len(keys) == len(branches) and torch.equal(keys, torch.arange(len(keys)))
    queries, lengths = [run.count for run in asking], [sum(end - start for start, end in run.keys) for run in asking]
    return Sequences(
        None if all_in_order else keys.to(read.device),
        _ends(queries, read.device),
        _ends(lengths, read.device),
        max(queries),
        max(lengths),
        dtype,
    )


@dataclass(frozen=True)
class _Run:
    """`count` tokens that are read and follow one another in a segment; `keys`: the ranges of tokens they see."""

    count: int
    keys: list[tuple[int, int]]


def _runs(branches: Tensor, rows: Tensor, read: Tensor) -> Iterator[_Run]:
    """A segment is a row's stem or one of its branches. All on the host: so nothing there is waited for."""
    segment = _changes(branches, rows)
    starts = [*_firsts(segment), len(segment)]
    stem = segment[_firsts(rows)][torch.unique_consecutive(rows, return_inverse=True)[1]]
    follows = (read[1:] == read[:-1] + 1) & (segment[read[1:]] == segment[read[:-1]])
    begins = [0, *((~follows).nonzero().squeeze(1) + 1).tolist(), len(read)]
    for begin, end in pairwise(begins):
        first, last = int(read[begin]), int(read[end - 1])
        own, stems = int(segment[first]), int(stem[first])
        before = [(starts[stems], starts[stems + 1])] if own != stems else []
        yield _Run(end - begin, [*before, (starts[own], last + 1)])


def _changes(*marks: Tensor) -> Tensor:
    """[N] how often any of `marks` [N] has changed up to each token."""
    changed = torch.stack([mark[1:] != mark[:-1] for mark in marks]).any(dim=0)
    return F.pad(changed.long().cumsum(0), (1, 0))


def _firsts(numbers: Tensor) -> list[int]:
    """Where each run of equal numbers begins."""
    return [0, *((numbers[1:] != numbers[:-1]).nonzero().squeeze(1) + 1).tolist()]


def _ends(counts: list[int], device: torch.device) -> Tensor:
    return torch.tensor([0, *accumulate(counts)], dtype=torch.int32, device=device)
