"""Weights back into a live model, bit for bit, from safetensors files: nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from rlhf_engine.errors import ConfigError
from rlhf_engine.scalar_models import ScalarModel


def load_weights(model: nn.Module, directory: Path) -> None:
    """Fills `model` from the safetensors files in `directory`.

    Raises ConfigError if a weight is missing (other than one tied to another) or doesn't belong.
    """
    network = model.network if isinstance(model, ScalarModel) else model
    tensors = {
        name: tensor for file in sorted(directory.glob("*.safetensors")) for name, tensor in load_file(file).items()
    }
    result = network.load_state_dict(tensors, strict=False)
    tied = {name for name, parameter in network.named_parameters(remove_duplicate=False)} - {
        name for name, parameter in network.named_parameters()
    }
    missing = set(result.missing_keys) - tied
    if missing or result.unexpected_keys:
        raise ConfigError(
            f"{directory}: doesn't fit the model: missing {sorted(missing)[:3]}, unknown {result.unexpected_keys[:3]}"
        )
