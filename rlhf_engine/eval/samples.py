"""Sampled responses as plain data, and a key of everything that decides them: nobody need sample the same twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel, __version__

import rlhf_engine
from rlhf_engine.rollout import Rollout


@dataclass(frozen=True)
class Samples:
    """Tokens of N responses without padding, up to and including EOS; CPU seconds of sampling all of them."""

    tokens: list[list[int]]
    cpu_seconds: float

    @classmethod
    def of(cls, rollout: Rollout, cpu_seconds: float) -> Samples:
        rows = zip(rollout.response_tokens.tolist(), rollout.response_lengths.tolist(), strict=True)
        return cls([tokens[:length] for tokens, length in rows], cpu_seconds)

    def first(self, rows: int) -> Samples:
        """The first rows, with their share of the seconds."""
        return Samples(self.tokens[:rows], self.cpu_seconds * rows / len(self.tokens))


class SampleKeeper(Protocol):
    """Gives the first `rows` samples that are kept under `key()`, or draws and keeps them.

    A row's noise is its own, so the first rows of many samples are those that fewer would have been.
    """

    def __call__(self, key: Callable[[], str], rows: int, draw: Callable[[], Samples]) -> Samples: ...


def drawn_anew(key: Callable[[], str], rows: int, draw: Callable[[], Samples]) -> Samples:
    """Keeps nothing."""
    return draw()


def sampling_key(policy: PreTrainedModel, prompts: Sequence[Sequence[int]], **settings: Any) -> str:
    """64 hexadecimal digits that differ whenever the samples could: weights, prompts as tokens, settings, code."""
    digest = hashlib.sha256(weights_digest(policy).encode())
    versions = [torch.__version__, __version__, code_digest()]
    for part in (prompts, settings, versions, policy.device.type):
        digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()


def weights_digest(model: PreTrainedModel) -> str:
    """A hash of every weight and of the architecture, whatever directory they came from."""
    described = model.config.to_dict() | {"_name_or_path": ""}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def code_digest() -> str:
    """A hash of the engine's own sources: other code may sample otherwise."""
    digest = hashlib.sha256()
    for file in sorted(Path(rlhf_engine.__path__[0]).rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
