"""Hidden states of a causal LM or scalar model, no more of them than are read, and none of padding.

Three families go block by block over packed tokens, through the modules of transformers' own models. The last block
computes the states that are read alone; the others need all tokens, since later ones attend to them. Other models, and
attention = "eager", go through transformers' forward of padded rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.activations import SiLUActivation

from rlhf_engine.linear import gated_silu, linear, product_dtype
from rlhf_engine.masking import at_least_float32, wide_dtype
from rlhf_engine.models import backbone_of
from rlhf_engine.packing import STEM, Packed, Rows
from rlhf_engine.sharding.state import shards_of

Rotary = tuple[Tensor, ...]


class Family(ABC):
    """How a family's blocks are made; `block` and `backbone` are transformers' modules.

    Tokens are [N, H]; queries [N, heads, D], keys and values [N, key heads, D].
    """

    embedding: str
    blocks: str
    norm: str
    """What the backbone calls them."""

    def embedded(self, backbone: Any, packed: Packed) -> Tensor:
        return at_least_float32(getattr(backbone, self.embedding)(packed.tokens))

    def rotary(self, backbone: Any, states: Tensor, positions: Tensor) -> Rotary:
        """cos and sin [N, 1, d] of the positions; empty for learned positions."""
        cos, sin = backbone.rotary_emb(states, positions[None])
        return cos.transpose(0, 1), sin.transpose(0, 1)

    def takes(self, config: Any) -> bool:
        """Whether attention is computed as here."""
        fused: bool = config._attn_implementation == "sdpa"
        return fused

    @abstractmethod
    def projected(
        self, block: Any, states: Tensor, rotary: Rotary, read: Tensor | slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of the tokens `read`, keys and values of all."""

    @abstractmethod
    def finished(self, block: Any, states: Tensor, attention: Tensor) -> Tensor:
        """The block's output, from its input and what attention found, [n, H] both; the latter is let go at once."""


class Llama(Family):
    embedding, blocks, norm = "embed_tokens", "layers", "norm"

    def projected(
        self, block: Any, states: Tensor, rotary: Rotary, read: Tensor | slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        own, normed = block.self_attn, block.input_layernorm(states)
        asking = linear(own.q_proj, normed[read]).unflatten(1, (-1, own.head_dim))
        keys, values = (linear(layer, normed).unflatten(1, (-1, own.head_dim)) for layer in (own.k_proj, own.v_proj))
        return turned(asking, *(table[read] for table in rotary)), turned(keys, *rotary), values

    def finished(self, block: Any, states: Tensor, attention: Tensor) -> Tensor:
        states, mlp = states + linear(block.self_attn.o_proj, attention), block.mlp
        del attention
        return states + linear(mlp.down_proj, self._gated(mlp, block.post_attention_layernorm(states)))

    def _gated(self, mlp: Any, normed: Tensor) -> Tensor:
        gate, width = linear(mlp.gate_proj, normed), linear(mlp.up_proj, normed)
        return gated_silu(gate, width) if isinstance(mlp.act_fn, SiLUActivation) else mlp.act_fn(gate) * width


class GPTNeoX(Family):
    embedding, blocks, norm = "embed_in", "layers", "final_layer_norm"

    def projected(
        self, block: Any, states: Tensor, rotary: Rotary, read: Tensor | slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        own = block.attention
        together = linear(own.query_key_value, normed(block.input_layernorm, states)).unflatten(
            1, (-1, 3 * own.head_size)
        )
        query, key, value = together.chunk(3, dim=-1)
        return turned(query[read], *(table[read] for table in rotary)), turned(key, *rotary), value

    def finished(self, block: Any, states: Tensor, attention: Tensor) -> Tensor:
        after, mlp = linear(block.attention.dense, attention) + states, block.mlp
        del attention
        read = normed(block.post_attention_layernorm, states if block.use_parallel_residual else after)
        return after + linear(mlp.dense_4h_to_h, mlp.act(linear(mlp.dense_h_to_4h, read)))


class GPT2(Family):
    embedding, blocks, norm = "wte", "h", "ln_f"

    def takes(self, config: Any) -> bool:
        return super().takes(config) and config.scale_attn_weights and not config.scale_attn_by_inverse_layer_idx

    def embedded(self, backbone: Any, packed: Packed) -> Tensor:
        return super().embedded(backbone, packed) + at_least_float32(backbone.wpe(packed.positions))

    def rotary(self, backbone: Any, states: Tensor, positions: Tensor) -> Rotary:
        return ()

    def projected(
        self, block: Any, states: Tensor, rotary: Rotary, read: Tensor | slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        together = linear(block.attn.c_attn, normed(block.ln_1, states)).unflatten(1, (3, -1, block.attn.head_dim))
        query, key, value = together.unbind(1)
        return query[read], key, value

    def finished(self, block: Any, states: Tensor, attention: Tensor) -> Tensor:
        states, mlp = states + linear(block.attn.c_proj, attention), block.mlp
        del attention
        return states + linear(mlp.c_proj, mlp.act(linear(mlp.c_fc, normed(block.ln_2, states))))


FAMILIES: dict[str, Family] = {"LlamaModel": Llama(), "GPTNeoXModel": GPTNeoX(), "GPT2Model": GPT2()}
"""By transformers' names of their classes."""


def family_of(backbone: nn.Module) -> Family | None:
    """None where transformers' own forward is used."""
    family, config = FAMILIES.get(type(backbone).__name__), getattr(backbone, "config", None)
    return family if family is not None and family.takes(config) else None


def blocks_of(backbone: nn.Module) -> list[nn.Module]:
    """The transformer blocks that a forward goes through one by one; none where transformers' own forward is used."""
    family = family_of(backbone)
    return list(getattr(backbone, family.blocks)) if family else []


def states_at(model: nn.Module, rows: Rows, places: Tensor) -> Tensor:
    """Last hidden states [n, H] at `places` [n], flat indices of valid tokens, row by row.

    Of a sharded model this gathers weights: all ranks make as many passes.
    """
    shards = shards_of(model)
    if shards is None:
        return _states_at(backbone_of(model), rows, places)
    states: Tensor = shards.root.run(_states_at, backbone_of(model), rows, places)
    return states


def _states_at(backbone: nn.Module, rows: Rows, places: Tensor) -> Tensor:
    family = family_of(backbone)
    if family is None:
        return padded_states(backbone, rows).flatten(0, 1)[places]
    dtype = product_dtype(getattr(backbone, family.embedding).weight)
    return packed_states(backbone, family, Packed.of(rows, places, dtype))


def padded_states(backbone: nn.Module, rows: Rows) -> Tensor:
    """[B, T, H] by transformers' own forward; of no meaning at padding, whose ids never reach the embedding."""
    mask = rows.mask
    output = backbone(
        input_ids=rows.tokens.masked_fill(~mask, 0),
        attention_mask=additive_mask(rows, backbone) if bool((rows.branches > STEM).any()) else mask.long(),
        position_ids=rows.positions,
        use_cache=False,
    )
    hidden: Tensor = output.last_hidden_state
    return hidden


def additive_mask(rows: Rows, backbone: nn.Module) -> Tensor:
    """[B, 1, T, T]: 0 where a row's token may see a column's, else the lowest number.

    In the dtype of the weights, or float32 where that is wider: attention reads a mask of another type wrongly.
    """
    seen, dtype = rows.seen(), wide_dtype(next(backbone.parameters()))
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill(~seen, torch.finfo(torch.float32).min).unsqueeze(1)


def packed_states(backbone: nn.Module, family: Family, packed: Packed) -> Tensor:
    """Last states [n, H] of the tokens that are read; as transformers' forward of each row alone."""
    states = family.embedded(backbone, packed)
    rotary = family.rotary(backbone, states, packed.positions)
    *through, through_last = _passages(backbone, family)
    for passage in through:
        states = passage(_whole_block, family, states, rotary, packed)
    return normed(getattr(backbone, family.norm), through_last(_last_block, family, states, rotary, packed))


def _passages(backbone: nn.Module, family: Family) -> list[Callable[..., Tensor]]:
    """How each block is gone through: of a sharded model, by the unit that gathers its weights."""
    blocks, shards = getattr(backbone, family.blocks), shards_of(backbone)
    if shards is None:
        return [partial(_through, block) for block in blocks]
    return [partial(unit.run, _through, block) for unit, block in zip(shards.units, blocks, strict=True)]


def _through(block: Any, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """With gradient checkpointing, where transformers has switched it on for this block."""
    if block.gradient_checkpointing and block.training:
        again: Tensor = checkpoint(function, block, *arguments, use_reentrant=False)
        return again
    return function(block, *arguments)


def _whole_block(block: Any, family: Family, states: Tensor, rotary: Rotary, packed: Packed) -> Tensor:
    attention = packed.attention
    return family.finished(block, states, attention.attended(*family.projected(block, states, rotary, slice(None))))


def _last_block(block: Any, family: Family, states: Tensor, rotary: Rotary, packed: Packed) -> Tensor:
    attention = packed.last_attention
    return family.finished(
        block, states[packed.read], attention.attended(*family.projected(block, states, rotary, packed.read))
    )


def normed(norm: Any, states: Tensor) -> Tensor:
    """Also where the norm's weights were gathered in 16 bits, which a CPU's layer norm of fp32 states refuses."""
    if not isinstance(norm, nn.LayerNorm) or norm.weight.dtype == states.dtype:
        found: Tensor = norm(states)
        return found
    return F.layer_norm(states, norm.normalized_shape, norm.weight.to(states), norm.bias.to(states), norm.eps)


def turned(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021) on the first d of D numbers of each head, halves paired."""
    turning, rest = heads.split([cos.shape[-1], heads.shape[-1] - cos.shape[-1]], dim=-1)
    first, second = turning.chunk(2, dim=-1)
    result = turning * cos + torch.cat([-second, first], dim=-1) * sin
    return torch.cat([result, rest], dim=-1) if rest.shape[-1] else result
