"""A small tokenizer, small models of the three families, and a rollout of unequal lengths."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from rlhf_engine.config import Architecture, InitConfig, ModelConfig
from rlhf_engine.models import load_policy
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import load_scalar_model

ARCHITECTURES: list[Architecture] = ["llama", "gpt_neox", "gpt2"]


@cache
def word_tokenizer() -> Any:
    """EOS 0, PAD 1, unknown 2, and thirty words."""
    words = {"<eos>": 0, "[PAD]": 1, "[UNK]": 2} | {f"w{i}": i + 3 for i in range(30)}
    backend = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", pad_token="[PAD]", unk_token="[UNK]")


def small_model(architecture: Architecture = "llama", **changes: Any) -> ModelConfig:
    init = InitConfig(
        architecture=architecture, hidden_size=32, layers=2, heads=4, max_positions=64, initializer_range=0.3
    )
    return ModelConfig(init=init, **changes)


def policy_of(tokenizer: Any, architecture: Architecture = "llama", **changes: Any) -> Any:
    return load_policy(small_model(architecture, **changes), tokenizer, torch.device("cpu"))


def scalar_model_of(tokenizer: Any, architecture: Architecture = "llama", **changes: Any) -> Any:
    return load_scalar_model(small_model(architecture, **changes), tokenizer, torch.device("cpu"))


def random_rollout(rows: int = 5, *, seed: int = 0) -> Rollout:
    """Prompts of 1 to 7 and responses of 1 to 6 tokens; the even rows end with EOS."""
    generator = torch.Generator().manual_seed(seed)

    def words(count: int) -> list[int]:
        return (torch.randint(3, 33, (count,), generator=generator)).tolist()

    prompts = [words(1 + (3 * row) % 7) for row in range(rows)]
    responses = [words(1 + (2 * row) % 5) + ([0] if row % 2 == 0 else []) for row in range(rows)]
    return Rollout.of_texts(prompts, responses, eos_id=0, pad_id=1, device=torch.device("cpu"))
