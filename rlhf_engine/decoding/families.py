"""How the weights of each family are read: adapters merged, query, key and value in one product, pairs side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import NewGELUActivation
from transformers.pytorch_utils import Conv1D

from rlhf_engine.decoding.linear import Linear
from rlhf_engine.decoding.weights import Block, Heads, Network, Pointwise
from rlhf_engine.masking import at_least_float32, wide_dtype

STATIC_ROTATIONS = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary positions whose frequencies don't change with the length of a text."""


class UnknownLayoutError(Exception):
    """The model has something that we don't decode ourselves."""


def laid_out(model: PreTrainedModel, dtype: torch.dtype | None = None) -> Network | None:
    """The model's weights, copied for decoding in `dtype` or their own; None where transformers must decode it."""
    kind = type(model)
    read = READERS.get(f"{kind.__module__}.{kind.__name__}")
    try:
        return read(model, dtype or model.dtype) if read else None
    except UnknownLayoutError:
        return None


def _llama(model: Any, dtype: torch.dtype) -> Network:
    config, trunk = model.config, model.model
    return Network(
        embedding=trunk.embed_tokens.weight,
        position_embedding=None,
        rotations=_rotations(trunk, _even(trunk.layers[0].self_attn.head_dim)),
        blocks=[_llama_block(layer, config, dtype) for layer in trunk.layers],
        final_norm=_rms_norm(trunk.norm),
        head=_joined([model.get_output_embeddings()], dtype),
    )


def _llama_block(layer: Any, config: Any, dtype: torch.dtype) -> Block:
    attention, mlp = layer.self_attn, layer.mlp
    heads = Heads(
        queries=config.num_attention_heads,
        keys=config.num_key_value_heads,
        size=attention.head_dim,
        scale=attention.scaling,
    )
    return Block(
        heads=heads,
        attention_norm=_rms_norm(layer.input_layernorm),
        query_key_value=_rotating(
            [_dense(attention.q_proj), _dense(attention.k_proj)], _dense(attention.v_proj), heads, heads.size, dtype
        ),
        attention_out=_joined([attention.o_proj], dtype),
        mlp_norm=_rms_norm(layer.post_attention_layernorm),
        mlp_in=_joined([mlp.gate_proj, mlp.up_proj], dtype),
        activation=_activation(mlp.act_fn),
        mlp_out=_joined([mlp.down_proj], dtype),
        gated=True,
        parallel=False,
    )


def _gpt_neox(model: Any, dtype: torch.dtype) -> Network:
    trunk = model.gpt_neox
    return Network(
        embedding=trunk.embed_in.weight,
        position_embedding=None,
        rotations=_rotations(trunk, _even(trunk.layers[0].attention.head_size)),
        blocks=[_gpt_neox_block(layer, model.config, trunk.rotary_emb, dtype) for layer in trunk.layers],
        final_norm=_layer_norm(trunk.final_layer_norm),
        head=_joined([model.get_output_embeddings()], dtype),
    )


def _gpt_neox_block(layer: Any, config: Any, rotary: Any, dtype: torch.dtype) -> Block:
    attention, number = layer.attention, config.num_attention_heads
    heads = Heads(queries=number, keys=number, size=attention.head_size, scale=attention.scaling)
    weight, bias = _dense(attention.query_key_value)
    # Each head has its query, key and value in a row.
    weights = weight.unflatten(0, (number, 3, heads.size)).unbind(1)
    biases = [None] * 3 if bias is None else bias.view(number, 3, heads.size).unbind(1)
    query, key, value = (
        (part.flatten(0, 1), None if added is None else added.flatten())
        for part, added in zip(weights, biases, strict=True)
    )
    return Block(
        heads=heads,
        attention_norm=_layer_norm(layer.input_layernorm),
        query_key_value=_rotating([query, key], value, heads, 2 * len(rotary.inv_freq), dtype),
        attention_out=_joined([attention.dense], dtype),
        mlp_norm=_layer_norm(layer.post_attention_layernorm),
        mlp_in=_joined([layer.mlp.dense_h_to_4h], dtype),
        activation=_activation(layer.mlp.act),
        mlp_out=_joined([layer.mlp.dense_4h_to_h], dtype),
        gated=False,
        parallel=config.use_parallel_residual,
    )


def _gpt2(model: Any, dtype: torch.dtype) -> Network:
    trunk = model.transformer
    if model.config.add_cross_attention:
        raise UnknownLayoutError
    return Network(
        embedding=trunk.wte.weight,
        position_embedding=trunk.wpe.weight,
        rotations=lambda _: None,
        blocks=[_gpt2_block(layer, dtype) for layer in trunk.h],
        final_norm=_layer_norm(trunk.ln_f),
        head=_joined([model.get_output_embeddings()], dtype),
    )


def _gpt2_block(layer: Any, dtype: torch.dtype) -> Block:
    attention = layer.attn
    number, size = attention.num_heads, attention.head_dim
    return Block(
        heads=Heads(queries=number, keys=number, size=size, scale=attention.scaling),
        attention_norm=_layer_norm(layer.ln_1),
        query_key_value=_joined([attention.c_attn], dtype),
        attention_out=_joined([attention.c_proj], dtype),
        mlp_norm=_layer_norm(layer.ln_2),
        mlp_in=_joined([layer.mlp.c_fc], dtype),
        activation=_activation(layer.mlp.act),
        mlp_out=_joined([layer.mlp.c_proj], dtype),
        gated=False,
        parallel=False,
    )


READERS: dict[str, Callable[[Any, torch.dtype], Network]] = {
    "transformers.models.llama.modeling_llama.LlamaForCausalLM": _llama,
    "transformers.models.gpt_neox.modeling_gpt_neox.GPTNeoXForCausalLM": _gpt_neox,
    "transformers.models.gpt2.modeling_gpt2.GPT2LMHeadModel": _gpt2,
}
"""By the name of the class: importing those of other families would take a worker longer to start."""

Dense = tuple[Tensor, Tensor | None]
"""Weight [out, in] and bias [out]."""


def _dense(module: Any) -> Dense:
    """A linear layer's weight and bias, its adapters merged."""
    base = getattr(module, "base_layer", module)
    if type(base) not in (nn.Linear, Conv1D):
        raise UnknownLayoutError
    weight = base.weight
    if base is not module:
        for adapter in module.active_adapters:
            weight = weight + module.get_delta_weight(adapter).to(weight.dtype)
    return weight.T if isinstance(base, Conv1D) else weight, base.bias


def _joined(modules: list[Any], dtype: torch.dtype) -> Linear:
    return _one_linear([_dense(module) for module in modules], dtype)


def _one_linear(parts: list[Dense], dtype: torch.dtype) -> Linear:
    """One product in place of several of the same input."""
    weight = parts[0][0] if len(parts) == 1 else torch.cat([weight for weight, _ in parts])
    biases = [bias for _, bias in parts if bias is not None]
    return Linear.laid_out(weight, torch.cat(biases) if biases else None, dtype)


def _rotating(turned: list[Dense], value: Dense, heads: Heads, rotary: int, dtype: torch.dtype) -> Linear:
    """Queries and keys with the first `rotary` elements of each head in pairs that turn together, then values.

    A head's elements in another order, the same for queries and keys, give the same products.
    """
    order = torch.arange(heads.size)
    order[:rotary] = order[:rotary].view(2, -1).T.flatten()

    def reordered(part: Tensor) -> Tensor:
        return part.view(-1, heads.size, *part.shape[1:])[:, order].flatten(0, 1)

    paired = [(reordered(weight), None if bias is None else reordered(bias)) for weight, bias in turned]
    return _one_linear([*paired, value], dtype)


def _even(head_size: int) -> int:
    if head_size % 2:
        raise UnknownLayoutError
    return head_size


def _rotations(trunk: Any, head_size: int) -> Callable[[int], Tensor]:
    """Complex factors [n, head size / 2] of positions 0..n-1; 1 where a pair doesn't turn."""
    rotary = trunk.rotary_emb
    if rotary.rope_type not in STATIC_ROTATIONS:
        raise UnknownLayoutError

    def rotations(length: int) -> Tensor:
        weight: Tensor = next(iter(trunk.parameters()))
        like = torch.empty(0, dtype=wide_dtype(weight), device=weight.device)
        cosines, sines = rotary(like, torch.arange(length, device=weight.device)[None])
        turning = torch.complex(cosines[0], sines[0])[:, : len(rotary.inv_freq)]
        factors: Tensor = F.pad(turning, (0, head_size // 2 - turning.shape[1]), value=1.0)
        return factors

    return rotations


def _rms_norm(module: Any) -> Pointwise:
    """In fp32 at least. torch has one kernel for it on a GPU, seven on a CPU; for a token four are faster there."""
    weight = at_least_float32(module.weight)
    if weight.device.type != "cpu":
        return partial(F.rms_norm, normalized_shape=weight.shape, weight=weight, eps=module.variance_epsilon)
    size = weight.shape[0]
    scaled, least = weight * math.sqrt(size), weight.new_tensor(math.sqrt(size * module.variance_epsilon))
    return lambda x: x.div(torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot_(least)).mul_(scaled)


def _layer_norm(module: Any) -> Pointwise:
    weight, bias = at_least_float32(module.weight), at_least_float32(module.bias)
    return partial(F.layer_norm, normalized_shape=weight.shape, weight=weight, bias=bias, eps=module.eps)


def _activation(module: Any) -> Pointwise:
    """transformers makes GPT-2's GELU of eight operations; torch has it in one."""
    found: Pointwise = partial(F.gelu, approximate="tanh") if isinstance(module, NewGELUActivation) else module
    return found
