"""One transformer block on prompts, on their last tokens, and on one new token a row. Pure but for the cache.

Heads are counted as in `Block.query_key_value`: H queries, then K keys and K values, D elements each. Rows lie at the
left of the cache, so that a token's place is its position and causality alone hides what a row does not have.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_engine.decoding.weights import Block, Heads

CONVERTED_ROWS = 4
"""Rows whose 16-bit keys and values are converted at once: what is converted stays in the processor's cache."""


def attend_prompts(block: Block, x: Tensor, rotation: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x [b, P, hidden] -> what attention gives [b, P, H D], and keys and values [b, 2K, P, D], both in `dtype`.

    `rotation`: complex [P, 1, D / 2] or None.
    """
    heads = block.heads
    turned = _queries_keys_values(block, x, rotation, dtype).transpose(1, 2)
    queries, keys_values = turned[:, : heads.queries], turned[:, heads.queries :]
    repeated = keys_values.unflatten(1, (2, heads.keys, 1)).expand(-1, -1, -1, _group(heads), -1, -1)
    keys, values = repeated.flatten(2, 3).unbind(1)
    attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=heads.scale)
    return attended.transpose(1, 2).flatten(2), keys_values


def attend_prompts_last(
    block: Block, x: Tensor, rotation: Tensor | None, lengths: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The same for each row's last token only, [b, H D]: behind the last block nothing reads the others."""
    turned = _queries_keys_values(block, x, rotation, dtype)
    keys_values = turned[:, :, block.heads.queries :].transpose(1, 2)
    queries = last_tokens(turned, lengths)[:, : block.heads.queries]
    return attend(block.heads, queries, keys_values, visible(lengths, x.shape[1])), keys_values


def last_tokens(x: Tensor, lengths: Tensor) -> Tensor:
    """[b, P, ...] -> [b, ...]"""
    return x[torch.arange(len(x), device=x.device), lengths - 1]


@dataclass(frozen=True, slots=True)
class Step:
    """What all blocks need for one new token a row. `rows`, `places` [B]: where its keys and values go in the cache.

    `rotation`: complex [B, 1, D / 2] or None; `mask` [B, 1, 1, T] of the places that rows have, None: all.
    """

    rows: Tensor
    places: Tensor
    rotation: Tensor | None
    mask: Tensor | None
    dtype: torch.dtype


def read_token(block: Block, x: Tensor, cache: Tensor, step: Step) -> Tensor:
    """x [B, hidden] of a new token a row -> the same behind the block; writes into `cache` [B, 2K, T, D]."""
    turned = _queries_keys_values(block, x, step.rotation, step.dtype)
    queries, keys_values = turned.split_with_sizes([block.heads.queries, 2 * block.heads.keys], 1)
    cache[step.rows, :, step.places] = keys_values if keys_values.dtype == cache.dtype else keys_values.to(cache.dtype)
    return behind_attention(block, x, attend(block.heads, queries, cache, step.mask))


def visible(lengths: Tensor, places: int) -> Tensor:
    """[B] -> bool [B, 1, 1, places]: the first `lengths` places of each row."""
    return (torch.arange(places, device=lengths.device) < lengths.unsqueeze(1))[:, None, None]


def attend(heads: Heads, queries: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
    """One query a head [B, H, D] to all places of [B, 2K, T, D] that the mask [B, 1, 1, T] shows -> [B, H D].

    In the queries' precision; keys and values of another are converted a few rows at a time.
    """
    if keys_values.dtype != queries.dtype:
        return _attend_converting(heads, queries, keys_values, mask)
    keys, values = keys_values.chunk(2, 1)
    grouped = queries.view(len(queries), heads.keys, _group(heads), heads.size)
    if mask is not None:
        mask = mask.expand(-1, heads.keys, _group(heads), -1)
    return F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask, scale=heads.scale).flatten(1)


def _attend_converting(heads: Heads, queries: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
    converted = queries.new_empty(CONVERTED_ROWS, *keys_values.shape[1:])
    attended = []
    for start in range(0, len(queries), CONVERTED_ROWS):
        rows = slice(start, start + CONVERTED_ROWS)
        part = converted[: len(queries[rows])].copy_(keys_values[rows])
        attended.append(attend(heads, queries[rows], part, None if mask is None else mask[rows]))
    return torch.cat(attended)


def _group(heads: Heads) -> int:
    return heads.queries // heads.keys


def _queries_keys_values(block: Block, x: Tensor, rotation: Tensor | None, dtype: torch.dtype) -> Tensor:
    """[..., hidden] -> [..., H + 2K, D] in `dtype`, positions turned in."""
    heads = block.heads
    product = block.query_key_value(block.attention_norm(x))
    product = product.view(*x.shape[:-1], heads.queries + 2 * heads.keys, heads.size)
    if rotation is None:
        return product.to(dtype)
    product = product.to(x.dtype)
    turning = product.narrow(-2, 0, heads.queries + heads.keys)
    torch.view_as_complex(turning.view(*turning.shape[:-1], -1, 2)).mul_(rotation)
    return product.to(dtype)


def behind_attention(block: Block, x: Tensor, attended: Tensor) -> Tensor:
    """The residual stream [..., hidden] behind the block's output projection and its MLP."""
    after = block.attention_out.added_to(x, attended)
    hidden = block.mlp_in(block.mlp_norm(x if block.parallel else after))
    if block.gated:
        gate, value = hidden.chunk(2, dim=-1)
        return block.mlp_out.added_to(after, block.activation(gate).mul_(value))
    return block.mlp_out.added_to(after, block.activation(hidden))
