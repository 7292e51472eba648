"""Trained weights into a directory and back into a live model, bit for bit: safetensors, nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.core_model_loading import revert_weight_conversion

from rlhf_engine.adapters import FOLDER, fill, has_adapter, merged_weights, network_of, restore_adapter, save_adapter
from rlhf_engine.errors import ConfigError
from rlhf_engine.models import save_model
from rlhf_engine.scalar_models import ScalarModel
from rlhf_engine.sharding.state import is_sharded, rest

PART, SCALE = "trained.safetensors", "scale.json"
WEIGHTS_FILE = "model.safetensors"
"""What transformers calls it."""


def save_weights(model: Any, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """A directory that plain transformers and later stages load: all weights, and the tokenizer.

    An adapter is merged into them, and kept unmerged in `adapter/`, where peft and `load_weights` find it. Of a sharded
    model everything but the weights, which are nowhere whole (`weight_tensors`).
    """
    sharded, adapted = is_sharded(model), has_adapter(model)
    if sharded or adapted:
        network = network_of(model)
        weights = {} if sharded else merged_weights(network, network.state_dict())
        save_model(SavedAs(network, weights), tokenizer, directory)
    else:
        save_model(model, tokenizer, directory)
    if sharded:
        (directory / WEIGHTS_FILE).unlink(missing_ok=True)
    if adapted:
        save_adapter(model, directory / FOLDER)


@dataclass(frozen=True)
class SavedAs:
    """A network with other weights, for saving; the network itself is left as it is."""

    network: PreTrainedModel
    weights: Mapping[str, Tensor]

    def save_pretrained(self, directory: Path) -> None:
        self.network.save_pretrained(directory, state_dict=self.weights)


@torch.no_grad()
def weight_tensors(model: nn.Module) -> dict[str, Tensor]:
    """A saved model's weights by the names that they have in files; of a sharded model as shards.

    An adapter is merged, which all ranks of a sharded model do together; without one they are the live weights.
    """
    network = network_of(model)
    rest(model)
    state = network.state_dict(keep_vars=True)
    if has_adapter(model):
        state = merged_weights(network, state)
    saved_names = {name: saved for saved, name in _names_by_saved_name(network, list(state)).items()}
    tied = _tied_names(network)
    return {saved_names[name]: tensor for name, tensor in state.items() if name not in tied}


def _tied_names(network: nn.Module) -> set[str]:
    """Further names of weights that have one."""
    names = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    return names - {name for name, _ in network.named_parameters()}


def load_weights(model: nn.Module, directory: Path) -> None:
    """Fills `model` from what `save_weights` left in `directory`; of a model with an adapter the adapter alone.

    Raises ConfigError if a weight is missing (other than one tied to another) or doesn't belong.
    """
    if has_adapter(model):
        restore_adapter(model, directory / FOLDER)
        return
    network = network_of(model)
    names = _names_by_saved_name(network, list(network.state_dict()))
    tensors = {
        names.get(name, name): tensor
        for file in sorted(directory.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }
    result = network.load_state_dict(tensors, strict=False)
    missing = set(result.missing_keys) - _tied_names(network)
    if missing or result.unexpected_keys:
        raise ConfigError(
            f"{directory}: doesn't fit the model: missing {sorted(missing)[:3]}, unknown {result.unexpected_keys[:3]}"
        )


def _names_by_saved_name(network: PreTrainedModel, names: Sequence[str]) -> dict[str, str]:
    """What `save_pretrained` calls some weights otherwise than the model: GPT-NeoX's head is `embed_out` in files."""
    numbered = {name: torch.tensor(number) for number, name in enumerate(names)}
    return {saved: names[int(number)] for saved, number in revert_weight_conversion(network, numbered).items()}


def save_part(parameters: Mapping[str, Tensor], directory: Path) -> None:
    """What is trained of a model whose other weights are elsewhere, by name."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().contiguous() for name, tensor in parameters.items()}, directory / PART)


def load_part(parameters: Mapping[str, Tensor], directory: Path) -> None:
    """The inverse of `save_part`, in place. Raises ConfigError where names differ."""
    fill(parameters, directory / PART)


def save_scale(value_model: ScalarModel, directory: Path) -> None:
    """The scale that a critic's values are on, beside what `save_part` keeps of it."""
    gain, bias = value_model.affine
    (directory / SCALE).write_text(json.dumps({"gain": gain, "bias": bias, "offsets": value_model.offsets}))


def load_critic(value_model: ScalarModel, trained: Mapping[str, Tensor], directory: Path) -> None:
    """The inverse of `save_part` and `save_scale`, in place. Raises ConfigError where none fits."""
    if not (directory / SCALE).is_file():
        raise ConfigError(f"critic_of: {directory} has no critic to go on with; name a PPO run")
    load_part(trained, directory)
    scale = json.loads((directory / SCALE).read_text())
    value_model.set_affine(scale["gain"], scale["bias"], head_offsets=scale["offsets"])
