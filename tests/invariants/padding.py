"""More padding, junk in it, and NaN in every masked place of what the engine computes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_engine.experience import PPOExperience
from rlhf_engine.packing import PADDING, Rows
from rlhf_engine.rollout import Rollout
from rlhf_engine.shared_prompts import SharedPromptBatch
from small_ppo import PAD

LEFT, RIGHT = 3, 4


def replace_everywhere(patch: pytest.MonkeyPatch, module: ModuleType, name: str, wrap: Callable[[Any], Any]) -> None:
    """`wrap(function)` in the place of `module.name`, in every module of the engine that has imported it."""
    real = getattr(module, name)
    wrapped = wrap(real)
    for key, other in list(sys.modules.items()):
        if key.startswith("rlhf_engine") and getattr(other, name, None) is real:
            patch.setattr(other, name, wrapped)


def keep_padding(patch: pytest.MonkeyPatch) -> None:
    """Minibatches and micro-batches keep columns that are padding in all their rows."""
    patch.setattr(Rollout, "trimmed", lambda rollout: rollout)


def widened(rollout: Rollout, left: int = LEFT, right: int = RIGHT) -> Rollout:
    """`left` columns of padding more before the prompts, `right` more behind the responses."""
    return Rollout(
        F.pad(rollout.prompt_tokens, (left, 0), value=PAD),
        F.pad(rollout.prompt_mask, (left, 0)),
        F.pad(rollout.response_tokens, (0, right), value=PAD),
        F.pad(rollout.response_mask, (0, right)),
        rollout.ended,
    )


def widened_experience(experience: PPOExperience, left: int = LEFT, right: int = RIGHT) -> PPOExperience:
    return dataclasses.replace(
        experience,
        rollout=widened(experience.rollout, left, right),
        **{name: F.pad(part, (0, right)) for name, part in token_tensors(experience).items()},
    )


def widened_groups(batch: SharedPromptBatch, right: int = RIGHT) -> SharedPromptBatch:
    """Rows of shared prompts with `right` columns more."""
    rows, width = batch.rows, batch.rows.tokens.shape[1]

    def moved(places: Tensor) -> Tensor:
        return places + places // width * right

    return SharedPromptBatch(
        Rows(
            F.pad(rows.tokens, (0, right)),
            F.pad(rows.positions, (0, right)),
            F.pad(rows.branches, (0, right), value=PADDING),
        ),
        moved(batch.places),
        batch.response_mask,
        moved(batch.prompt_ends),
    )


def with_junk(rollout: Rollout, seed: int = 0, largest: int = 100_000) -> Rollout:
    """Random ids below `largest` in the masked places, most of them unknown to the models."""
    generator = torch.Generator().manual_seed(seed)

    def spoilt(tokens: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, tokens, torch.randint(largest, tokens.shape, generator=generator))

    return dataclasses.replace(
        rollout,
        prompt_tokens=spoilt(rollout.prompt_tokens, rollout.prompt_mask),
        response_tokens=spoilt(rollout.response_tokens, rollout.response_mask),
    )


def token_tensors(experience: PPOExperience) -> dict[str, Tensor]:
    """The tensors [B, R] of an experience by name."""
    parts = {field.name: getattr(experience, field.name) for field in dataclasses.fields(experience)}
    return {name: part for name, part in parts.items() if isinstance(part, Tensor) and part.ndim == 2}


def poisoned_experience(experience: PPOExperience, poison: float) -> PPOExperience:
    mask = experience.response_mask
    parts: dict[str, Any] = {name: part.masked_fill(~mask, poison) for name, part in token_tensors(experience).items()}
    return dataclasses.replace(experience, **parts)


class Poison:
    """Wraps functions so that their results hold `value` wherever the mask that they were given is False.

    The mask is the first bool tensor among the arguments, or a rollout's. Results of another shape stay. `spoilt` has
    the names of the functions whose results had masked places.
    """

    def __init__(self, value: float) -> None:
        self.value, self.spoilt = value, set[str]()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def poisoned(*arguments: Any, **settings: Any) -> Any:
            result, mask = function(*arguments, **settings), mask_among((*arguments, *settings.values()))
            if not bool(mask.all()):
                self.spoilt.add(function.__name__)
            if isinstance(result, tuple):
                return tuple(self.in_place_of_masked(part, mask) for part in result)
            return self.in_place_of_masked(result, mask)

        return poisoned

    def in_place_of_masked(self, part: Tensor, mask: Tensor) -> Tensor:
        if part.shape[: mask.ndim] != mask.shape:
            return part
        return part.masked_fill(~mask.reshape(mask.shape + (1,) * (part.ndim - mask.ndim)), self.value)


def mask_among(arguments: tuple[Any, ...]) -> Tensor:
    for argument in arguments:
        if isinstance(argument, Rollout):
            return argument.response_mask
        if isinstance(argument, Rows):
            return argument.mask
        if isinstance(argument, Tensor) and argument.dtype == torch.bool:
            return argument
    raise TypeError("no mask among the arguments")
