"""Models from scratch or from a checkpoint, and one forward for policies and scalar models."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from rlhf_engine.config import InitConfig, ModelConfig, Precision, PrecisionConfig, ReleaseCache
from rlhf_engine.data.tokenizers import check_vocabulary
from rlhf_engine.errors import ConfigError, hub_advice

DROPOUT_KEYS = (
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "attention_dropout",
    "hidden_dropout",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "dropout",
    "activation_dropout",
)
UNSUPPORTED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


def choose_device(name: str) -> torch.device:
    """The device that `name` asks for; auto: the first GPU, else the CPU. Raises ConfigError if there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device: {name!r} is not a device; allowed: auto, cpu, cuda, cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device: {name!r} asked for, but torch {torch.__version__} sees no GPU; use cpu or auto")
    return device


def choose_determinism(deterministic: bool) -> None:
    """For the whole process; with it, an operation without a deterministic kernel raises a RuntimeError that names it.

    Before the GPU is first used: cuBLAS reads the size of its workspace only then (PyTorch's notes on reproducibility).
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(deterministic)


def compute_precision(device: torch.device, compute: Precision) -> AbstractContextManager[Any]:
    """Runs matrix products in 16 bits where asked; weights, log-probabilities and losses stay fp32."""
    return nullcontext() if compute == "float32" else torch.autocast(device.type, dtype=getattr(torch, compute))


def check_precision(precision: PrecisionConfig) -> None:
    """Raises ConfigError for float16 that is not explicitly allowed."""
    if precision.compute == "float16" and not precision.allow_float16:
        raise ConfigError(
            'precision.compute: "float16" ends at 65504, so that activations overflow, and probability ratios at a log '
            "ratio of 11.09; gradients below 6e-8 become 0, for losses are not scaled. Use bfloat16 or float32, or "
            "insist with precision.allow_float16 = true"
        )


def check_release_cache(release_cache: ReleaseCache, device: torch.device) -> None:
    """Raises ConfigError where there is no cache that could be released."""
    if release_cache == "between_phases" and device.type != "cuda":
        raise ConfigError(f'release_cache: "between_phases" asked for, but a {device.type} has no cache; use auto')


def _sizes_of(init: InitConfig, vocabulary: int) -> dict[str, Any]:
    intermediate = init.intermediate_size or 4 * init.hidden_size
    if init.architecture == "gpt2":
        return {
            "n_embd": init.hidden_size, "n_layer": init.layers, "n_head": init.heads, "n_inner": intermediate,
            "n_positions": init.max_positions, "vocab_size": vocabulary,
        }  # fmt: skip
    sizes = {
        "hidden_size": init.hidden_size, "num_hidden_layers": init.layers, "num_attention_heads": init.heads,
        "intermediate_size": intermediate, "max_position_embeddings": init.max_positions, "vocab_size": vocabulary,
    }  # fmt: skip
    return sizes | ({"num_key_value_heads": init.kv_heads or init.heads} if init.architecture == "llama" else {})


def model_config_of(init: InitConfig, tokenizer: PreTrainedTokenizerBase) -> Any:
    """The transformers config of a model from scratch, dropout off. Raises ConfigError on sizes that don't fit."""
    if init.hidden_size % init.heads:
        raise ConfigError(f"model.init.hidden_size: {init.hidden_size} is not a multiple of heads = {init.heads}")
    return AutoConfig.for_model(
        init.architecture,
        **_sizes_of(init, len(tokenizer)),
        tie_word_embeddings=init.tie_embeddings,
        initializer_range=init.initializer_range,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def read_model_config(config: ModelConfig, key: str) -> Any:
    """The transformers config of `config.path`. Raises ConfigError, naming `key`, if it can't be had."""
    if config.revision and Path(config.path).exists():
        raise ConfigError(f"{key}.revision: {config.revision!r} is for a hub's model; {config.path!r} is a directory")
    try:
        return AutoConfig.from_pretrained(config.path, revision=config.revision or None, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _load_error(config, key, error) from None


def _load_error(config: ModelConfig, key: str, error: Exception) -> ConfigError:
    text = str(error)
    if Path(config.path).exists():
        return ConfigError(
            f"{key}.path: {config.path!r} is not a model that transformers can load: {text.splitlines()[0]}"
        )
    return ConfigError(f"{key}.path: {config.path!r}: {hub_advice(config.path, error)}")


def prepare_model_config(hf_config: Any, config: ModelConfig, tokenizer: PreTrainedTokenizerBase, key: str) -> Any:
    """The config with dropout off and our tokenizer's ids. Raises ConfigError on logits that we don't reproduce."""
    for name in DROPOUT_KEYS:
        if getattr(hf_config, name, None):
            setattr(hf_config, name, 0.0)
    for name in UNSUPPORTED_LOGITS:
        if getattr(hf_config, name, None) not in (None, 1.0):
            raise ConfigError(f"{key}.path: {config.path!r} changes its logits ({name}), which is not supported")
    # Llama's embedding refuses a padding id beyond its rows; PAD is never embedded, so none is as good.
    hf_config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id < hf_config.vocab_size else None
    hf_config.eos_token_id = tokenizer.eos_token_id
    return hf_config


def finish_model(
    model: PreTrainedModel, config: ModelConfig, tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> Any:
    """Dropout off, vocabulary checked, gradient checkpointing as asked, on the device, in training mode."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    check_vocabulary(tokenizer, model.get_input_embeddings().weight.shape[0])
    set_gradient_checkpointing(model, config.gradient_checkpointing)
    return model.to(device).train()


def set_gradient_checkpointing(model: PreTrainedModel, wanted: bool) -> None:
    """Recomputes each block's activations in the backward pass, or keeps them."""
    if wanted:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    else:
        model.gradient_checkpointing_disable()


def load_policy(
    config: ModelConfig, tokenizer: PreTrainedTokenizerBase, device: torch.device, *, key: str = "model"
) -> PreTrainedModel:
    """A causal language model in fp32, dropout off. Raises ConfigError, naming `key`, if it can't be had."""
    if not config.path:
        hf_config = model_config_of(config.init, tokenizer)
        model = AutoModelForCausalLM.from_config(
            prepare_model_config(hf_config, config, tokenizer, key), attn_implementation=config.attention
        )
        return finish_model(model.float(), config, tokenizer, device)
    hf_config = prepare_model_config(read_model_config(config, key), config, tokenizer, key)
    return finish_model(load_pretrained(AutoModelForCausalLM, config, hf_config, key)[0], config, tokenizer, device)


def load_pretrained(kind: Any, config: ModelConfig, hf_config: Any, key: str) -> tuple[Any, set[str]]:
    """The fp32 model at `config.path`, and the names of weights that it does not have (a scalar head's only).

    Only safetensors are read, and no code that lies beside them is run: a pickle or a script could do anything.

    Raises ConfigError, naming `key`, where it can't be loaded or is of another architecture.
    """
    try:
        model, info = kind.from_pretrained(
            config.path,
            config=hf_config,
            revision=config.revision or "main",
            dtype=torch.float32,
            attn_implementation=config.attention,
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _load_error(config, key, error) from None
    missing = {name for name in info["missing_keys"] if not name.startswith("score.")}
    if missing or info["mismatched_keys"]:
        named = ", ".join(sorted(missing or {str(item) for item in info["mismatched_keys"]})[:3])
        raise ConfigError(
            f"{key}.path: {config.path!r} is a checkpoint of another architecture: no weights for {named}"
        )
    return model, set(info["missing_keys"])


def position_ids_of(mask: Tensor) -> Tensor:
    """Positions counted over valid tokens only, [B, T], so that left padding shifts nothing."""
    return (mask.long().cumsum(dim=-1) - 1).clamp(min=0)


def backbone_of(model: nn.Module) -> nn.Module:
    """The transformer without its head."""
    network: Any = model
    backbone: nn.Module = network.base_model
    return backbone


def lm_head_weight(model: nn.Module) -> Tensor:
    """[V, H] weight of a causal LM's head."""
    network: Any = model
    weight: Tensor = network.get_output_embeddings().weight
    return weight


class Saveable(Protocol):
    """A policy, or a scalar model."""

    def save_pretrained(self, directory: Path) -> None: ...


def save_model(model: Saveable, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """A `save_pretrained` directory with the tokenizer: plain transformers loads it and goes on from it."""
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
