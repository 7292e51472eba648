"""Small models with random weights for measurements, saved where an engine's config can name them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from rlhf_engine.adapters import add_adapter
from rlhf_engine.checkpoint import save_weights
from rlhf_engine.config import InitConfig, LoraConfig, ModelConfig
from rlhf_engine.models import load_policy
from rlhf_engine.scalar_heads import HeadShape
from rlhf_engine.scalar_models import load_scalar_model

CPU = torch.device("cpu")
LORA = LoraConfig(rank=8, alpha=16.0)
POLICY, REWARD_MODEL, REWARD_ADAPTER = "policy", "reward_model", "reward_adapter"


def tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    words = {"<eos>": 0, "[PAD]": 1, "[UNK]": 2} | {f"w{i}": i + 3 for i in range(vocabulary - 3)}
    backend = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", pad_token="[PAD]", unk_token="[UNK]")


@contextmanager
def saved_models(sizes: InitConfig, vocabulary: int, heads: HeadShape | None = None) -> Iterator[Path]:
    """A folder with a policy, a reward model of its size, and one that is an adapter on the policy."""
    with TemporaryDirectory() as name:
        _save_models(Path(name), sizes, tokenizer(vocabulary), heads)
        yield Path(name)


def _save_models(folder: Path, sizes: InitConfig, words: PreTrainedTokenizerFast, heads: HeadShape | None) -> None:
    torch.manual_seed(0)
    scratch = ModelConfig(init=sizes)
    save_weights(load_policy(scratch, words, CPU), words, folder / POLICY)
    save_weights(load_scalar_model(scratch, words, CPU, head_shape=heads), words, folder / REWARD_MODEL)
    adapted = load_scalar_model(ModelConfig(path=str(folder / POLICY)), words, CPU, head_shape=heads)
    add_adapter(adapted, LORA)
    save_weights(adapted, words, folder / REWARD_ADAPTER)
