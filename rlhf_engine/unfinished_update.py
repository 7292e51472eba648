"""What an update has done so far, so that a checkpoint in its middle loses neither responses nor minibatches."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from rlhf_engine.experience import Experience, PPOExperience
from rlhf_engine.generation import SampledResponses
from rlhf_engine.rollout import Rollout
from rlhf_engine.update_metrics import UpdateStatistics

AnyExperience = TypeVar("AnyExperience", bound=Experience)


@dataclass
class UnfinishedUpdate(Generic[AnyExperience]):
    """`responses` while they are sampled, `experience` once it is complete, `statistics` of the minibatches done.

    Weights change with a minibatch's step only, so whatever else was under way is done again to the same bits.
    """

    statistics: UpdateStatistics
    responses: SampledResponses | None = None
    experience: AnyExperience | None = None

    def keep(self, responses: SampledResponses) -> SampledResponses:
        """Those sampled before in batches of the same size, to be gone on with; else `responses`, kept from now on."""
        if self.responses is None or self.responses.batch_size != responses.batch_size:
            self.responses = responses
        return self.responses

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint, by name."""
        found = {f"statistics/{name}": part for name, part in _statistics_tensors(self.statistics).items()}
        if self.experience is not None:
            return found | {f"experience/{name}": part for name, part in _experience_tensors(self.experience).items()}
        if self.responses is not None:
            found |= {f"responses/{name}": part for name, part in self.responses.tensors().items()}
        return found

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> UnfinishedUpdate[Any]:
        """The inverse of `tensors`."""
        unfinished: UnfinishedUpdate[Any] = UnfinishedUpdate(
            _statistics({name: part.to(device) for name, part in _below("statistics", tensors).items()})
        )
        if responses := _below("responses", tensors):
            unfinished.responses = SampledResponses.of_tensors(responses, device)
        if experience := _below("experience", tensors):
            unfinished.experience = _experience({name: part.to(device) for name, part in experience.items()})
        return unfinished


def _below(folder: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.partition("/")[2]: part for name, part in tensors.items() if name.startswith(f"{folder}/")}


def _experience_tensors(experience: Experience) -> dict[str, Tensor]:
    rollout = {f"rollout/{field.name}": getattr(experience.rollout, field.name) for field in fields(Rollout)}
    parts = {field.name: getattr(experience, field.name) for field in fields(experience) if field.name != "rollout"}
    return {name: part.contiguous() for name, part in (rollout | parts).items()}


def _experience(tensors: Mapping[str, Tensor]) -> Experience:
    kind = PPOExperience if "values" in tensors else Experience
    parts = {name: part for name, part in tensors.items() if "/" not in name}
    return kind(rollout=Rollout(**_below("rollout", tensors)), **parts)


def _statistics_tensors(statistics: UpdateStatistics) -> dict[str, Tensor]:
    """Of the finished minibatches: each list as one tensor, each number as a scalar."""
    finished = deepcopy(statistics)
    finished.forget_unfinished_minibatch()
    found = {f"losses/{name}": torch.stack(parts) for name, parts in finished.losses.items() if parts}
    for name in _names(finished):
        value = getattr(finished, name)
        tensors = isinstance(value, list) and value and isinstance(value[0], Tensor)
        found[name] = torch.stack(value) if tensors else torch.tensor(value, dtype=torch.float64)
    return found


def _statistics(tensors: Mapping[str, Tensor]) -> UpdateStatistics:
    statistics = UpdateStatistics()
    for name, parts in _below("losses", tensors).items():
        statistics.losses[name] = list(parts.unbind())
    for name in _names(statistics):
        default, value = getattr(statistics, name), tensors[name]
        if name.endswith("_norms"):
            setattr(statistics, name, value.tolist())
        else:
            setattr(statistics, name, list(value.unbind()) if value.ndim else type(default)(value.item()))
    return statistics


def _names(statistics: UpdateStatistics) -> list[str]:
    return [field.name for field in fields(statistics) if field.name != "losses"]
