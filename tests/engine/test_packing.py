"""Packed rows: the states of transformers' own forward of each row alone, and nothing computed that nobody reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from engine_models import ARCHITECTURES, policy_of, random_rollout, scalar_model_of
from rlhf_engine.config import Architecture
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.packing import Rows, mean_states, scattered
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import response_scores
from rlhf_engine.trunk import family_of, padded_states, states_at

NORM_BEFORE_MLP: dict[Architecture, str] = {
    "llama": "post_attention_layernorm", "gpt_neox": "post_attention_layernorm", "gpt2": "ln_2",
}  # fmt: skip


def states_and_gradients(backbone: Any, states: Tensor) -> list[Tensor]:
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(1), dtype=states.dtype)
    return [states, *torch.autograd.grad((states * weights).sum(), list(backbone.parameters()))]


def assert_near(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b).abs().max()) <= tolerance * max(float(b.abs().max()), 1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_states_and_gradients_are_those_of_transformers_forward(
    tokenizer: Any, architecture: Architecture, dtype: torch.dtype
) -> None:
    rollout, model = random_rollout(), policy_of(tokenizer, architecture).to(dtype)
    backbone, places = model.base_model, rollout.acting_places
    theirs = padded_states(backbone, rollout.token_rows).flatten(0, 1)[places]
    ours = states_at(model, rollout.token_rows, places)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    assert_near(states_and_gradients(backbone, ours), states_and_gradients(backbone, theirs), tolerance)


LINEAR_ROPE = {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}
WHOLE_ROPE = {"rope_type": "default", "partial_rotary_factor": 1.0, "rope_theta": 1e4}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True, "hidden_act": "gelu"}),
    ("llama", {"num_key_value_heads": 1, "head_dim": 16, "rope_parameters": LINEAR_ROPE}),
    ("gpt_neox", {"use_parallel_residual": False, "rope_parameters": WHOLE_ROPE}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    ("qwen2", {"num_key_value_heads": 2}),
]


@pytest.mark.parametrize(("family", "settings"), VARIANTS, ids=lambda value: value if isinstance(value, str) else "")
def test_variants_of_a_family_and_other_families_are_computed_as_transformers_does(
    family: str, settings: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = AutoConfig.for_model(family, **sizes, vocab_size=33, **settings)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").float().eval()
    rollout = random_rollout()
    with torch.no_grad():
        found = states_at(model, rollout.token_rows, rollout.acting_places)
        alone = [
            model.base_model(input_ids=tokens[mask][None]).last_hidden_state[0, -length - 1 : -1]
            for tokens, mask, length in zip(rollout.tokens, rollout.mask, rollout.response_lengths, strict=True)
        ]
    assert torch.allclose(found, torch.cat(alone), atol=1e-5)


def test_only_families_whose_attention_is_known_are_packed(tokenizer: Any) -> None:
    assert all(family_of(policy_of(tokenizer, name).base_model) is not None for name in ARCHITECTURES)
    assert family_of(policy_of(tokenizer, attention="eager").base_model) is None
    assert family_of(nn.Linear(2, 2)) is None


@contextmanager
def counted_tokens(backbone: nn.Module) -> Iterator[Counter[str]]:
    """How many tokens pass each embedding and norm, by its name."""
    counts: Counter[str] = Counter()
    kinds = ("Embedding", "Norm")
    modules = {n: m for n, m in backbone.named_modules() if type(m).__name__.endswith(kinds) and n != "rotary_emb"}
    hooks = [
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: counts.update({name: output[..., 0].numel()})
        )
        for name, module in modules.items()
    ]
    yield counts
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_padding_is_computed_and_the_last_block_only_where_it_is_read(
    tokenizer: Any, architecture: Architecture
) -> None:
    rollout = random_rollout()
    policy, scalar = policy_of(tokenizer, architecture), scalar_model_of(tokenizer, architecture)
    tokens, responses = int(rollout.mask.sum()), int(rollout.response_mask.sum())
    assert responses < tokens < rollout.mask.numel()
    for model, forward, read in (
        (policy, response_logprobs, responses),
        (scalar, response_scores, len(rollout)),
    ):
        with counted_tokens(model.base_model) as counts:
            forward(model, rollout)
        behind = sorted(name for name in counts if name.endswith(NORM_BEFORE_MLP[architecture]))
        assert [counts[name] for name in behind] == [tokens, read]
        assert {counts[name] for name in counts if "embed" in name or name == "wte"} == {tokens}


def test_rows_of_one_sequence_see_what_is_before_them_and_branches_their_stem() -> None:
    mask = torch.tensor([[False, True, True]])
    assert Rows.of_sequences(torch.zeros(1, 3), mask).seen().int().tolist() == [[[0, 0, 0], [0, 1, 0], [0, 1, 1]]]
    tree = Rows(torch.zeros(1, 4), torch.tensor([[0, 1, 1, 0]]), torch.tensor([[0, 1, 2, -1]]))
    assert tree.seen().int().tolist()[0][:3] == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]]


def test_values_go_back_to_their_places() -> None:
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert scattered(torch.tensor([1.0, 2.0]), mask).tolist() == [[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
    states = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert scattered(states, mask).tolist() == [[[1.0, 2.0], [0.0, 0.0], [3.0, 6.0]], [[0.0, 0.0]] * 3]
    assert mean_states(states, mask).tolist() == [[2.0, 4.0], [0.0, 0.0]]


def test_places_are_those_of_the_tokens_that_they_name() -> None:
    rollout = Rollout.of_texts([[5], [6, 7]], [[8, 9, 0], [10]], eos_id=0, pad_id=1, device=torch.device("cpu"))
    tokens = rollout.tokens.flatten()
    assert tokens[rollout.acting_places].tolist() == [5, 8, 9, 7]
    assert tokens[rollout.response_places].tolist() == [8, 9, 0, 10]
