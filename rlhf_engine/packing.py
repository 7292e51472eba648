"""Rows of tokens without their padding, end to end: what a transformer's blocks compute, and who attends to whom.

tokens     [pad pad  p1  p2  a1  a2]      packed  [p1 p2 a1 a2 | p1 a1 | p1 p2 a1 b1 b2]
           [pad  p1  a1 pad pad pad]
branches   [ -1  -1   0   0   0   0]      a row attends to itself alone; a branch to the row's stem and to itself
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_engine.masking import at_least_float32
from rlhf_engine.models import position_ids_of
from rlhf_engine.varlen import sequences_of, usable

STEM, PADDING = 0, -1


@dataclass(frozen=True)
class Rows:
    """B rows of T tokens. `branches` [B, T]: 0 the stem, k the k-th branch behind it, -1 padding.

    Valid tokens are in order: a row's stem, then its branches. `positions` [B, T] count from 0 in each sequence.
    """

    tokens: Tensor
    positions: Tensor
    branches: Tensor

    @classmethod
    def of_sequences(cls, tokens: Tensor, mask: Tensor) -> Rows:
        """One sequence in each row [B, T], where `mask` is True."""
        return cls(tokens, position_ids_of(mask), mask.long() - 1)

    @property
    def mask(self) -> Tensor:
        """[B, T]"""
        return self.branches != PADDING

    def seen(self) -> Tensor:
        """[B, T, T]: whether the token of a row attends to the token of a column."""
        length = self.branches.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=self.branches.device).tril()
        asking, asked = self.branches[:, :, None], self.branches[:, None, :]
        return causal & ((asked == STEM) | ((asked == asking) & (asked != PADDING)))


class Attention(Protocol):
    """What each of the tokens that ask sees."""

    def attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Queries [n, heads, D] to keys and values [N, key heads, D]: [n, heads * D]."""


@dataclass(frozen=True)
class Queries:
    """`count` tokens that follow one another and attend to the first `keys` tokens of their row.

    `mask` [count, keys] is added to the attention's scores: 0 where a token sees another, else -inf; None: each sees
    those up to itself.
    """

    count: int
    keys: int
    mask: Tensor | None = None


@dataclass(frozen=True)
class Packed:
    """N valid tokens of B rows, and the n of them whose last states are `read` [n], row by row.

    `attention` is that of all tokens, `last_attention` that of those that are read.
    """

    tokens: Tensor
    positions: Tensor
    read: Tensor
    attention: Attention
    last_attention: Attention

    @classmethod
    def of(cls, rows: Rows, places: Tensor, dtype: torch.dtype) -> Packed:
        """`places` [n]: flat index (row * T + column) of the tokens whose states are read, row by row.

        `dtype`: what matrix products run in.
        """
        mask = rows.mask
        read = (mask.flatten().cumsum(0) - 1)[places]
        if usable(mask.device, dtype):
            branches, own = rows.branches[mask], mask.nonzero()[:, 0]
            every = torch.arange(len(own), device=own.device)
            whole: Attention = sequences_of(branches, own, every, dtype)
            last: Attention = sequences_of(branches, own, read, dtype)
        else:
            whole, last = _row_by_row(rows, places, read, dtype)
        return cls(rows.tokens[mask], rows.positions[mask], read, whole, last)


def _of_row(seen: Tensor, stem: int, length: int, dtype: torch.dtype) -> list[Queries]:
    """A stem is a plain sequence; branches need to be told what they may see."""
    branches = [Queries(length - stem, length, additive(seen[stem:], dtype))] if length > stem else []
    return [Queries(stem, stem), *branches]


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `seen`, else -inf; one mask for all blocks."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)


@dataclass(frozen=True)
class RowByRow:
    """A call for each row's stem, causal, and one for its branches: no padding is computed, and plain sequences need no
    mask; on a CPU that is faster than one padded batch.

    Of each row, how many tokens it has, and `queries` in order.
    """

    lengths: list[int]
    queries: list[list[Queries]]

    def attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        asking = iter(query.split([part.count for row in self.queries for part in row]))
        found: list[Tensor] = []
        for row, keys, values in zip(self.queries, key.split(self.lengths), value.split(self.lengths), strict=True):
            found += _row_attended(row, asking, keys, values)
        return torch.cat(found)


def _row_by_row(rows: Rows, places: Tensor, read: Tensor, dtype: torch.dtype) -> tuple[RowByRow, RowByRow]:
    """Attention of all tokens, and of those that are `read` [n], at `places` [n]."""
    mask, width = rows.mask, rows.tokens.shape[1]
    columns = [row.nonzero().squeeze(1) for row in mask]
    seen = [own[kept][:, kept] for own, kept in zip(rows.seen(), columns, strict=True)]
    lengths = [len(kept) for kept in columns]
    counts = torch.bincount(places // width, minlength=len(mask)).tolist()
    starts = (mask.sum(dim=1).cumsum(0) - mask.sum(dim=1))[places // width]
    asking = (read - starts).split(counts)
    stems = (rows.branches == STEM).sum(dim=1).tolist()
    queries = [_of_row(*row, dtype) for row in zip(seen, stems, lengths, strict=True)]
    last = [[Queries(len(own), len(row), additive(row[own], dtype))] for row, own in zip(seen, asking, strict=True)]
    return RowByRow(lengths, queries), RowByRow(lengths, last)


def _row_attended(row: Sequence[Queries], asking: Iterator[Tensor], keys: Tensor, values: Tensor) -> Iterator[Tensor]:
    for part in row:
        packed = (next(asking), _first(keys, part.keys), _first(values, part.keys))
        query, key, value = (x.unsqueeze(0).transpose(1, 2) for x in packed)
        result = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=part.mask,
            is_causal=part.mask is None,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        yield result.transpose(1, 2).flatten(2).squeeze(0)


def _first(rows: Tensor, count: int) -> Tensor:
    """The first `count` of them; all as they are, since a slice's gradient is a copy within zeros."""
    return rows if count == len(rows) else rows[:count]


def scattered(values: Tensor, mask: Tensor) -> Tensor:
    """[B, R] or [B, R, H] with `values` [n] or [n, H] at the n places where `mask` [B, R] is True, in order; else 0."""
    shape = (*mask.shape, *values.shape[1:])
    chosen = mask.view(*mask.shape, *(1 for _ in values.shape[1:]))
    return torch.zeros(shape, dtype=values.dtype, device=values.device).masked_scatter(chosen, values)


def mean_states(states: Tensor, mask: Tensor) -> Tensor:
    """[B, H] in fp32 or wider: means of `states` [n, H] over each row's valid places; 0 for a row without any."""
    return scattered(at_least_float32(states), mask).sum(dim=1) / mask.sum(dim=-1, keepdim=True).clamp(min=1)
