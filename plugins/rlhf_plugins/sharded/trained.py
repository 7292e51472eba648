"""What a trainer's checkpoint keeps of models and optimizers, sharded or not, written and read.

A path is that of the file in a checkpoint of one process; what no rank has whole lies in pieces below `shards/`.
torch.distributed.checkpoint, which takes its time to load, is imported where there is such.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from rlhf_engine.adapters import FOLDER, WEIGHTS, adapter_parameters, has_adapter
from rlhf_engine.checkpoint import (
    PART,
    WEIGHTS_FILE,
    load_part,
    load_weights,
    save_part,
    save_weights,
    weight_tensors,
)
from rlhf_engine.errors import ConfigError
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ranks import ProcessGroupRanks, Ranks
from rlhf_engine.sharding.state import is_shard, is_sharded, rest
from rlhf_plugins.sharded.stored import PlacedTensor, key_of, stored_tensors
from rlhf_sdk.shards.index import read_index

Tensors = Mapping[str, Tensor]
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Trained:
    """By name: models that a checkpoint has whole, what is trained of other models, optimizers."""

    models: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, nn.Parameter]]
    optimizers: Mapping[str, ScheduledAdamW]

    def save_shards(self, directory: Path, ranks: Ranks) -> None:
        """What is sharded, by all ranks together. Raises OSError where one of them can't write."""
        self._rest()
        found = {path: tensors for path, tensors in self._to_save().items() if self._is_sharded(path, tensors)}
        if found:
            _save(found, directory, ranks)

    def save_whole(self, directory: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """All the rest, by one rank."""
        self._rest()
        for name, model in self.models.items():
            save_weights(model, tokenizer, directory / name)
        for name, part in self.parts.items():
            (directory / name).mkdir(exist_ok=True)
            if not self._is_sharded(f"{name}/{PART}", part):
                save_part(part, directory / name)
        for name, optimizer in self.optimizers.items():
            path = moments_file(name)
            if not self._is_sharded(path, tensors := optimizer.state_tensors()):
                save_file(tensors, directory / path)

    def load(self, directory: Path, optimizer_steps: Mapping[str, int]) -> None:
        """All of it, whatever number of ranks saved it in whatever layout; each rank reads what it keeps.

        Raises ConfigError where names or shapes differ.
        """
        self._rest()
        in_pieces = read_index(directory).files
        for path, tensors, load_whole in self._to_fill(directory):
            if path in in_pieces or self._is_sharded(path, tensors):
                _fill(tensors, stored_tensors(directory, path), directory / path)
            else:
                load_whole()
        for name, optimizer in self.optimizers.items():
            path = moments_file(name)
            if path in in_pieces or self._is_sharded(path, {}):
                stored = stored_tensors(directory, path)
                moments = _moments_to_fill(optimizer, stored)
                _read(moments, stored, directory / path)
            else:
                moments = load_file(directory / path)
            optimizer.load_state_tensors(moments, optimizer_steps[name])

    def _rest(self) -> None:
        for model in self.models.values():
            rest(model)

    def _to_save(self) -> dict[str, Tensors]:
        """By path; of a model with an adapter the merged weights too, which all ranks work out together."""
        found: dict[str, Tensors] = {}
        for name, model in self.models.items():
            if is_sharded(model):
                found[f"{name}/{WEIGHTS_FILE}"] = weight_tensors(model)
        found |= {f"{name}/{PART}": part for name, part in self.parts.items()}
        return found | {moments_file(name): optimizer.state_tensors() for name, optimizer in self.optimizers.items()}

    def _to_fill(self, directory: Path) -> Iterator[tuple[str, Tensors, Callable[[], None]]]:
        """Path, what is to be filled, and how that is done from a whole file."""
        for name, model in self.models.items():
            adapted = has_adapter(model)
            path = f"{name}/{FOLDER}/{WEIGHTS}" if adapted else f"{name}/{WEIGHTS_FILE}"
            tensors = adapter_parameters(model) if adapted else weight_tensors(model)
            yield path, tensors, partial(load_weights, model, directory / name)
        for name, part in self.parts.items():
            yield f"{name}/{PART}", part, partial(load_part, part, directory / name)

    def _is_sharded(self, path: str, tensors: Tensors) -> bool:
        """The same on all ranks, also where one of them has none of it."""
        optimizers = {moments_file(name): optimizer for name, optimizer in self.optimizers.items()}
        if path in optimizers:
            optimizer = optimizers[path]
            return optimizer.is_partitioned or any(is_shard(parameter) for parameter in optimizer.parameters)
        return any(is_shard(tensor) for tensor in tensors.values())


def moments_file(name: str) -> str:
    """Of the optimizer called `name`."""
    return f"{name}.optimizer.safetensors"


def _save(files: Mapping[str, Tensors], directory: Path, ranks: Ranks) -> None:
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_saver import save

    from rlhf_plugins.sharded.storage import ShardWriter

    state = {key_of(path, name): tensor for path, tensors in files.items() for name, tensor in tensors.items()}
    writer = ShardWriter(directory, ranks.rank, list(files))
    host_group = ranks.host_group if isinstance(ranks, ProcessGroupRanks) else None
    try:
        save(state, storage_writer=writer, process_group=host_group)
    except CheckpointException as failure:
        raise next(iter(failure.failures.values()))[0] from failure


def _fill(tensors: Tensors, stored: Mapping[str, PlacedTensor], file: Path) -> None:
    if tensors.keys() != stored.keys():
        missing, unknown = sorted(tensors.keys() - stored.keys()), sorted(stored.keys() - tensors.keys())
        raise ConfigError(f"{file}: doesn't fit the model: missing {missing[:3]}, unknown {unknown[:3]}")
    _read(tensors, stored, file)


@torch.no_grad()
def _read(tensors: Tensors, stored: Mapping[str, PlacedTensor], file: Path) -> None:
    """Fills `tensors`, in place, from those of the same names; of shards this rank's part."""
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != stored[name].shape:
            raise ConfigError(f"{file}: {name} has shape {list(stored[name].shape)} instead of {list(tensor.shape)}")
    if not tensors:
        return
    from torch.distributed.checkpoint.state_dict_loader import load

    from rlhf_plugins.sharded.storage import ShardReader

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        # Every rank reads for itself: nothing is to be agreed on.
        load(dict(tensors), storage_reader=ShardReader({name: stored[name] for name in tensors}), no_dist=True)


def _moments_to_fill(optimizer: ScheduledAdamW, stored: Mapping[str, PlacedTensor]) -> dict[str, Tensor]:
    """Room for those of this rank's parameters, where the checkpoint has them: nobody has any before the first step."""
    found: dict[str, Tensor] = {}
    for name, parameter in optimizer.own_parameters.items():
        if f"{name}/step" in stored:
            found |= {f"{name}/{key}": torch.zeros_like(parameter.detach()) for key in MOMENTS}
            found[f"{name}/step"] = torch.zeros(())
    return found
