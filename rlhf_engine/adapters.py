"""LoRA adapters on a frozen backbone (Hu et al. 2021, arXiv:2106.09685), through peft.

Roles that share a backbone are models of their own whose frozen weights are the same tensors: nothing is switched.
peft is imported where there is an adapter: it takes a worker a second to start.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from rlhf_engine.config import LoraConfig
from rlhf_engine.errors import ConfigError, nearest
from rlhf_engine.models import backbone_of
from rlhf_engine.scalar_models import ScalarModel
from rlhf_engine.sharding.state import placed_like

if TYPE_CHECKING:
    import peft

FOLDER = "adapter"
"""Within a saved model's directory, beside its merged weights."""
WEIGHTS = "adapter_model.safetensors"
NAME = "default"
PEFT_PREFIX = "base_model.model."
HEAD = "score."

Model = TypeVar("Model", bound=nn.Module)


def has_adapter(model: nn.Module) -> bool:
    """Whether low-rank adapters have been added to the model's backbone."""
    return any(_is_adapter(name) for name, _ in model.named_parameters())


def add_adapter(model: nn.Module, lora: LoraConfig) -> None:
    """Freezes a model, all but its scalar head, and adds an adapter that changes nothing yet (B = 0), in place.

    Raises ConfigError where a target is no linear layer of the blocks.
    """
    backbone = backbone_of(model)
    frozen = model if isinstance(model, PreTrainedModel) else backbone
    frozen.requires_grad_(False)
    network_of(model).config.adapter_backbone = backbone_hash(model)
    _inject(backbone, _settings(backbone, lora.rank, lora.alpha, _targets(backbone, lora)))


def _settings(backbone: nn.Module, rank: int, alpha: float, targets: list[str]) -> peft.LoraConfig:
    import peft

    return peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=targets,
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in backbone.modules()),
    )


def _inject(backbone: nn.Module, settings: peft.LoraConfig) -> None:
    import peft

    peft.inject_adapter_in_model(settings, backbone, adapter_name=NAME)


def _targets(backbone: nn.Module, lora: LoraConfig) -> list[str]:
    linear = (name for name, module in backbone.named_modules() if isinstance(module, nn.Linear | Conv1D))
    known = sorted({name.rpartition(".")[2] for name in linear})
    for target in lora.targets:
        if target not in known:
            raise ConfigError(
                f"lora.targets: {target!r} is no linear layer of this model's blocks; there is {', '.join(known)}."
                f"{nearest(target, known)}"
            )
    return sorted(lora.targets) or known


def shared_copy(model: Model, backbone: nn.Module) -> Model:
    """A model of its own, but for the weights and buffers of `backbone`: those are the same tensors in both."""
    shared = chain(backbone.parameters(), backbone.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared})


def backbone_hash(model: nn.Module) -> str:
    """SHA-256 (hex) of the backbone's weights by name, adapters and heads left out."""
    digest = hashlib.sha256()
    for name, tensor in sorted(_base_weights(backbone_of(model)).items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def adapted_backbone(model: nn.Module) -> str:
    """The hash of the backbone to which an adapter was added, also where the adapter has since been merged; or ""."""
    return getattr(network_of(model).config, "adapter_backbone", "")


def _base_weights(backbone: nn.Module) -> dict[str, Tensor]:
    return {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in backbone.named_parameters()
        if not _is_adapter(name)
    }


def _is_adapter(name: str) -> bool:
    return ".lora_" in name


def merged_weights(network: PreTrainedModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a network, `weights`, with W + (alpha / rank) B A in place of W, of shards as shards; names as
    without an adapter.
    """
    state = {name.replace(".base_layer.", "."): tensor for name, tensor in weights.items() if not _is_adapter(name)}
    for name, module in network.named_modules():
        if hasattr(module, "lora_A"):
            layer: Any = module
            weight = state[f"{name}.weight"]
            state[f"{name}.weight"] = weight + placed_like(layer.get_delta_weight(NAME).to(weight.dtype), weight)
    return state


def adapter_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The adapter's parameters, and a scalar head's, by the name that peft gives them in a file."""
    return {
        PEFT_PREFIX + name.replace(f".{NAME}.", "."): parameter
        for name, parameter in network_of(model).named_parameters()
        if _is_adapter(name) or name.startswith(HEAD)
    }


def save_adapter(model: nn.Module, directory: Path) -> None:
    """Adapter and scalar head as peft's `PeftModel.from_pretrained` reads them."""
    network = network_of(model)
    has_head = any(name.startswith(HEAD) for name, _ in network.named_parameters())
    backbone: Any = backbone_of(model)
    settings = dataclasses.replace(
        backbone.peft_config[NAME],
        task_type="SEQ_CLS" if has_head else "CAUSAL_LM",
        modules_to_save=[HEAD.rstrip(".")] if has_head else None,
        base_model_name_or_path=network.config.name_or_path,
    )
    settings.save_pretrained(directory)
    save_file({name: tensor.contiguous() for name, tensor in adapter_parameters(model).items()}, directory / WEIGHTS)


def attach_adapter(model: nn.Module, directory: Path) -> None:
    """Adds the adapter that `directory` holds and fills it and the head, in place."""
    import peft

    backbone = backbone_of(model)
    settings = peft.LoraConfig.from_pretrained(str(directory))
    _inject(backbone, _settings(backbone, settings.r, settings.lora_alpha, sorted(settings.target_modules)))
    restore_adapter(model, directory)


def restore_adapter(model: nn.Module, directory: Path) -> None:
    """Fills the adapter and head from `directory`, bit for bit. Raises ConfigError where they don't fit."""
    fill(adapter_parameters(model), directory / WEIGHTS)


@torch.no_grad()
def fill(parameters: Mapping[str, Tensor], file: Path) -> None:
    """Copies a safetensors file's tensors into `parameters` of the same names. Raises ConfigError if names differ."""
    tensors = load_file(file)
    if tensors.keys() != parameters.keys():
        missing, unknown = sorted(parameters.keys() - tensors.keys()), sorted(tensors.keys() - parameters.keys())
        raise ConfigError(f"{file}: doesn't fit the model: missing {missing[:3]}, unknown {unknown[:3]}")
    for name, parameter in parameters.items():
        parameter.copy_(placed_like(tensors[name], parameter))


def network_of(model: nn.Module) -> PreTrainedModel:
    """The transformers model: a policy itself, or what a scalar model wraps."""
    network: PreTrainedModel = model.network if isinstance(model, ScalarModel) else model
    return network
