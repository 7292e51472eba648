"""Our own decoder against transformers' forward of whole texts, for many small models of each family."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
)

from rlhf_engine.decoding import decoder as decoding
from rlhf_engine.decoding.decoder import CachedDecoder, Decoder
from rlhf_engine.decoding.families import laid_out
from rlhf_engine.decoding.transformers_decoder import TransformersDecoder
from rlhf_engine.generation import decoder_of
from rlhf_engine.hooks import NoHooks

VOCABULARY, STEPS = 53, 5
ROTATIONS: list[dict[str, Any]] = [
    {"rope_type": "default"},
    {"rope_type": "linear", "factor": 4.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8},
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8,
    },
]


def llama(draw: random.Random) -> PreTrainedConfig:
    return LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=draw.choice([1, 2, 4]),
        head_dim=draw.choice([4, 6]),
        attention_bias=draw.random() < 0.5,
        mlp_bias=draw.random() < 0.5,
        hidden_act=draw.choice(["silu", "gelu"]),
        tie_word_embeddings=draw.random() < 0.5,
        rope_parameters=draw.choice(ROTATIONS) | {"rope_theta": 100.0},
        vocab_size=VOCABULARY,
    )


def gpt_neox(draw: random.Random) -> PreTrainedConfig:
    return GPTNeoXConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=draw.choice([1, 2]),
        use_parallel_residual=draw.random() < 0.5,
        attention_bias=draw.random() < 0.5,
        hidden_act=draw.choice(["gelu", "relu"]),
        tie_word_embeddings=draw.random() < 0.5,
        rope_parameters=draw.choice(ROTATIONS[:2])
        | {"rope_theta": 100.0, "partial_rotary_factor": draw.choice([0.25, 0.5, 1.0])},
        vocab_size=VOCABULARY,
    )


def gpt2(draw: random.Random) -> PreTrainedConfig:
    return GPT2Config(
        n_embd=16,
        n_inner=draw.choice([None, 24]),
        n_layer=2,
        n_head=draw.choice([2, 4]),
        n_positions=32,
        scale_attn_weights=draw.random() < 0.5,
        scale_attn_by_inverse_layer_idx=draw.random() < 0.5,
        activation_function=draw.choice(["gelu_new", "relu", "gelu"]),
        tie_word_embeddings=draw.random() < 0.5,
        vocab_size=VOCABULARY,
    )


FAMILIES = [llama, gpt_neox, gpt2]


def random_model(config: PreTrainedConfig) -> Any:
    """All weights random, biases and norms too, so that none could be left out unseen."""
    model = AutoModelForCausalLM.from_config(config).float().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, mean=0.0 if parameter.ndim > 1 else 0.5, std=0.3)
    return model


def own_decoder(model: Any, dtype: torch.dtype = torch.float32, rows: int = 8) -> CachedDecoder:
    network = laid_out(model, dtype)
    assert network is not None
    return CachedDecoder(network, rows, places=16)


def random_prompts() -> list[list[int]]:
    """Of different lengths, one twice."""
    prompts = [torch.randint(VOCABULARY, (length,)).tolist() for length in (3, 8, 1, 8, 5)]
    return [*prompts, prompts[1]]


@torch.no_grad()
def decoded(decoder: Decoder, prompts: Sequence[list[int]]) -> tuple[Tensor, list[list[int]]]:
    """Logits [STEPS + 1, 3, V] of three rows on their way through random tokens, and their texts; three leave."""
    logits = [decoder.begin(prompts, NoHooks())]
    texts = [list(prompt) for prompt in prompts]
    stay = torch.tensor([0, 5, 2])
    for step in range(STEPS):
        tokens = torch.randint(VOCABULARY, (len(texts),))
        texts = [[*text, token] for text, token in zip(texts, tokens.tolist(), strict=True)]
        logits.append(decoder.advance(tokens, decoder.reach(step + 1)))
        if step == 1:
            decoder.keep(stay)
            texts = [texts[row] for row in stay]
            logits = [part[stay] for part in logits]
    return torch.stack(logits), texts


@torch.no_grad()
def relative_error(model: Any, logits: Tensor, texts: list[list[int]]) -> float:
    """Largest difference from transformers' logits of each whole text, over their largest."""
    expected = [model(torch.tensor([text])).logits[0, -STEPS - 1 :] for text in texts]
    reference = torch.stack(expected, dim=1)
    return float((logits - reference).abs().max() / reference.abs().max())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(family: Callable[[random.Random], PreTrainedConfig], seed: int) -> None:
    torch.manual_seed(seed)
    model = random_model(family(random.Random(seed)))
    assert relative_error(model, *decoded(own_decoder(model), random_prompts())) <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_is_as_near_as_bf16_can_be(family: Callable[[random.Random], PreTrainedConfig]) -> None:
    torch.manual_seed(0)
    model = random_model(family(random.Random(3)))
    assert 1e-4 < relative_error(model, *decoded(own_decoder(model, torch.bfloat16), random_prompts())) <= 0.05


@pytest.mark.parametrize(("family", "target"), [(llama, "v_proj"), (gpt_neox, "query_key_value"), (gpt2, "c_attn")])
def test_adapters_are_merged(family: Callable[[random.Random], PreTrainedConfig], target: str) -> None:
    torch.manual_seed(0)
    model = random_model(family(random.Random(0)))
    settings = peft.LoraConfig(r=2, target_modules=[target], fan_in_fan_out=family is gpt2, init_lora_weights=False)
    peft.inject_adapter_in_model(settings, model.base_model)
    assert relative_error(model, *decoded(own_decoder(model), random_prompts())) <= 1e-5


def test_a_step_of_fixed_shape_is_the_one_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is captured on a GPU: attention reaches beyond what is written."""
    torch.manual_seed(0)
    model = random_model(llama(random.Random(0)))
    monkeypatch.setitem(decoding.REACH, "cpu", 8)
    decoder = own_decoder(model)
    assert relative_error(model, *decoded(decoder, random_prompts())) <= 1e-5
    assert {decoder.reach(sampled) for sampled in range(1, STEPS + 1)} == {16}


def test_prompts_read_in_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, prompts = random_model(gpt_neox(random.Random(0))), random_prompts()
    monkeypatch.setitem(decoding.PROMPT_TOKENS_AT_ONCE, "cpu", 16)
    assert relative_error(model, *decoded(own_decoder(model), prompts)) <= 1e-5


@pytest.mark.parametrize(
    "config",
    [
        MistralConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            vocab_size=VOCABULARY,
        ),
        LlamaConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, vocab_size=VOCABULARY,
            rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 100.0}, max_position_embeddings=64,
        ),
        GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=VOCABULARY, add_cross_attention=True),
    ],
    ids=["another family", "rotations that grow", "cross attention"],
)  # fmt: skip
def test_transformers_decodes_what_we_do_not(config: PreTrainedConfig) -> None:
    torch.manual_seed(0)
    model = random_model(config)
    decoder = decoder_of(model, rows=8, places=16)
    assert isinstance(decoder, TransformersDecoder)
    assert relative_error(model, *decoded(decoder, random_prompts())) <= 1e-5
