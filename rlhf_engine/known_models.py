"""Sizes of models without loading them: from `init`, a directory, the hub's cache, or a table of well-known ones.

Torch-free and offline, so that a memory plan costs nothing.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlhf_engine.config import Architecture, InitConfig, ModelConfig, TokenizerConfig
from rlhf_engine.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes of a transformer of one of the three families, in elements; heads: where it gives scores or values."""

    architecture: Architecture
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    positions: int
    tied: bool
    score_heads: int = 1
    mlp_heads: bool = False

    @property
    def attention_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_size

    @property
    def kv_width(self) -> int:
        """Width of all key heads together (and of all value heads)."""
        return self.kv_heads * self.head_size

    @property
    def head_parameters(self) -> int:
        """Weights of the output head that are not shared with the input embeddings."""
        return 0 if self.tied else self.vocabulary * self.hidden

    @property
    def policy_parameters(self) -> int:
        """Weights of the causal language model."""
        return self.trunk_parameters + self.head_parameters

    @property
    def scalar_parameters(self) -> int:
        """Weights of the reward or value model of this shape: its heads instead of the output head."""
        return self.trunk_parameters + self.score_parameters

    @property
    def score_parameters(self) -> int:
        """Weights of the heads that read scores or values; an MLP has a hidden layer, its bias and an output."""
        return self.score_heads * self.hidden * ((self.hidden + 2) if self.mlp_heads else 1)

    @property
    def trunk_parameters(self) -> int:
        """Embeddings, blocks and final norm."""
        norm = self.hidden if self.architecture == "llama" else 2 * self.hidden
        positions = self.positions * self.hidden if self.architecture == "gpt2" else 0
        return self.vocabulary * self.hidden + positions + self.layers * self.block_parameters + norm

    @property
    def block_parameters(self) -> int:
        """Weights of one block: attention, MLP and two norms."""
        hidden, width = self.hidden, self.intermediate
        if self.architecture == "llama":
            attention = 2 * hidden * self.attention_width + 2 * hidden * self.kv_width
            return attention + 3 * hidden * width + 2 * hidden
        attention = 4 * hidden * hidden + 4 * hidden
        return attention + 2 * hidden * width + width + hidden + 4 * hidden


def _gpt_neox(hidden: int, layers: int, heads: int, vocabulary: int = 50304) -> ModelShape:
    return ModelShape(
        architecture="gpt_neox", hidden=hidden, layers=layers, heads=heads, kv_heads=heads, head_size=hidden // heads,
        intermediate=4 * hidden, vocabulary=vocabulary, positions=2048, tied=False,
    )  # fmt: skip


def _gpt2(hidden: int, layers: int, heads: int) -> ModelShape:
    return ModelShape(
        architecture="gpt2", hidden=hidden, layers=layers, heads=heads, kv_heads=heads, head_size=hidden // heads,
        intermediate=4 * hidden, vocabulary=50257, positions=1024, tied=True,
    )  # fmt: skip


def _llama(
    hidden: int, layers: int, heads: int, kv_heads: int, width: int, vocabulary: int, positions: int, *, tied: bool
) -> ModelShape:
    return ModelShape(
        architecture="llama", hidden=hidden, layers=layers, heads=heads, kv_heads=kv_heads, head_size=hidden // heads,
        intermediate=width, vocabulary=vocabulary, positions=positions, tied=tied,
    )  # fmt: skip


KNOWN_MODELS = {
    "eleutherai/pythia-70m": _gpt_neox(512, 6, 8),
    "eleutherai/pythia-160m": _gpt_neox(768, 12, 12),
    "eleutherai/pythia-410m": _gpt_neox(1024, 24, 16),
    "eleutherai/pythia-1b": _gpt_neox(2048, 16, 8),
    "eleutherai/pythia-1.4b": _gpt_neox(2048, 24, 16),
    "eleutherai/pythia-2.8b": _gpt_neox(2560, 32, 32),
    "eleutherai/pythia-6.9b": _gpt_neox(4096, 32, 32, vocabulary=50432),
    "openai-community/gpt2": _gpt2(768, 12, 12),
    "openai-community/gpt2-medium": _gpt2(1024, 24, 16),
    "openai-community/gpt2-large": _gpt2(1280, 36, 20),
    "openai-community/gpt2-xl": _gpt2(1600, 48, 25),
    "meta-llama/llama-3.2-1b": _llama(2048, 16, 32, 8, 8192, 128256, 131072, tied=True),
    "meta-llama/llama-3.2-3b": _llama(3072, 28, 24, 8, 8192, 128256, 131072, tied=True),
    "tinyllama/tinyllama-1.1b-intermediate-step-1431k-3t": _llama(2048, 22, 32, 4, 5632, 32000, 2048, tied=False),
    "tinyllama/tinyllama_v1.1": _llama(2048, 22, 32, 4, 5632, 32000, 2048, tied=False),
    "huggingfacetb/smollm2-135m": _llama(576, 30, 9, 3, 1536, 49152, 8192, tied=True),
    "huggingfacetb/smollm2-360m": _llama(960, 32, 15, 5, 2560, 49152, 8192, tied=True),
    "huggingfacetb/smollm2-1.7b": _llama(2048, 24, 32, 32, 8192, 49152, 8192, tied=True),
}
"""By lower-case hub id; sizes from the models' published config.json."""

_ALIASES = {"gpt2": "openai-community/gpt2"} | {
    f"gpt2-{size}": f"openai-community/gpt2-{size}" for size in ("medium", "large", "xl")
}


def shape_of(model: ModelConfig, tokenizer: TokenizerConfig, *, key: str = "model") -> ModelShape:
    """The model's shape. Raises ConfigError, naming `key`, where it can't be known without a download."""
    if not model.path:
        return _shape_of_init(model.init, _vocabulary_of(tokenizer, key))
    config_file = _config_file(model)
    if config_file is not None:
        return _shape_of_file(config_file, key)
    name = model.path.lower().removesuffix("-deduped")
    shape = KNOWN_MODELS.get(_ALIASES.get(name, name))
    if shape is None:
        raise ConfigError(
            f"{key}.path: the sizes of {model.path!r} are not known here: it is no directory with a config.json, "
            "not in the hub's cache, and not in the table of well-known models"
        )
    return shape


def _config_file(model: ModelConfig) -> Path | None:
    local = Path(model.path) / "config.json"
    if local.is_file():
        return local
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    repository = Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{model.path.replace('/', '--')}"
    revision = model.revision or "main"
    reference = repository / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    cached = repository / "snapshots" / commit / "config.json"
    return cached if cached.is_file() else None


def _shape_of_init(init: InitConfig, vocabulary: int) -> ModelShape:
    llama = init.architecture == "llama"
    return ModelShape(
        architecture=init.architecture,
        hidden=init.hidden_size,
        layers=init.layers,
        heads=init.heads,
        kv_heads=(init.kv_heads or init.heads) if llama else init.heads,
        head_size=init.hidden_size // init.heads,
        intermediate=init.intermediate_size or 4 * init.hidden_size,
        vocabulary=vocabulary,
        positions=init.max_positions,
        tied=init.tie_embeddings,
    )


def _vocabulary_of(tokenizer: TokenizerConfig, key: str) -> int:
    if tokenizer.train_vocab_size:
        return tokenizer.train_vocab_size
    file = Path(tokenizer.path, "tokenizer.json")
    if not tokenizer.path or not file.is_file():
        raise ConfigError(
            f"{key}.init: the size of the vocabulary is not known; give tokenizer.train_vocab_size or a directory "
            f"with a tokenizer.json (tokenizer.path is {tokenizer.path!r})"
        )
    contents = json.loads(file.read_text())
    added = {token["id"] for token in contents.get("added_tokens", [])}
    return len(added | set(contents["model"]["vocab"].values()))


def _shape_of_file(file: Path, key: str) -> ModelShape:
    """From a transformers config.json, with its defaults for what it leaves out."""
    config: dict[str, Any] = json.loads(file.read_text())
    family = config.get("model_type")
    try:
        if family == "gpt2":
            return _with_heads(_shape_of_gpt2(config), config)
        if family in ("llama", "gpt_neox"):
            return _with_heads(_shape_of_rotary(family, config), config)
    except KeyError as error:
        raise ConfigError(f"{key}.path: {file} has no {error}") from None
    raise ConfigError(f"{key}.path: {file} is of the family {family!r}; the memory plan knows llama, gpt_neox and gpt2")


def _with_heads(shape: ModelShape, config: dict[str, Any]) -> ModelShape:
    """The heads that a reward model's config names; one linear head where it names none."""
    return replace(shape, score_heads=config.get("score_heads", 1), mlp_heads=config.get("score_head") == "mlp")


def _shape_of_gpt2(config: dict[str, Any]) -> ModelShape:
    hidden, heads = config["n_embd"], config["n_head"]
    return ModelShape(
        architecture="gpt2",
        hidden=hidden,
        layers=config["n_layer"],
        heads=heads,
        kv_heads=heads,
        head_size=hidden // heads,
        intermediate=config.get("n_inner") or 4 * hidden,
        vocabulary=config["vocab_size"],
        positions=config["n_positions"],
        tied=config.get("tie_word_embeddings", True),
    )


def _shape_of_rotary(family: Architecture, config: dict[str, Any]) -> ModelShape:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    return ModelShape(
        architecture=family,
        hidden=hidden,
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or hidden // heads,
        intermediate=config["intermediate_size"],
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        tied=config.get("tie_word_embeddings", False),
    )
