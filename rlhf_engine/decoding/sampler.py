"""Which token comes next: the inverse of the distribution function at noise keyed by (seed, episode, token)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_engine.masking import at_least_float32

BLOCK = 128
"""Tokens of one block: the square root of common vocabularies, within a factor of two."""


def _splitmix64(state: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The SplitMix64 finaliser (Steele, Lea and Flood 2014): 64 well-mixed bits for each counter."""
    with np.errstate(over="ignore"):
        state = state + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray[Any, Any] = state ^ (state >> np.uint64(31))
    return mixed


def keyed_uniforms(seed: int, episodes: Sequence[int], length: int) -> Tensor:
    """Uniforms in [0, 1), fp64 [B, length], a pure function of (seed, episode, token)."""
    key = _splitmix64(np.array([seed], dtype=np.uint64))
    rows = _splitmix64(np.asarray(episodes, dtype=np.uint64)[:, None] ^ key)
    bits = _splitmix64(rows ^ _splitmix64(np.arange(length, dtype=np.uint64))[None, :])
    return torch.from_numpy((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def choose_tokens(logits: Tensor, uniforms: Tensor, temperature: float) -> Tensor:
    """Tokens [B] at uniforms fp64 [B] of the distribution of logits [B, V], whole vocabulary; greedy at 0."""
    if temperature == 0.0:
        return logits.argmax(dim=-1)
    scaled = at_least_float32(logits)
    return inverse_cdf((scaled if temperature == 1.0 else scaled / temperature).softmax(dim=-1), uniforms)


def inverse_cdf(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """The first token whose cumulative probability exceeds u, [B, V] and fp64 [B] -> [B]; never one of probability 0.

    First the block of tokens, then the token within it, so that only V / BLOCK + BLOCK sums are formed of V. They are
    of fp64: the cumulative sums of a large vocabulary round more in fp32 than its rare tokens weigh.
    """
    masses = _block_masses(probabilities)
    block, rest = _invert(masses, (uniforms * masses.sum(dim=-1)).unsqueeze(-1))
    tokens = block * BLOCK + torch.arange(BLOCK, device=block.device)
    vocabulary = probabilities.shape[-1]
    within = probabilities.gather(1, tokens.clamp(max=vocabulary - 1)).double().masked_fill(tokens >= vocabulary, 0.0)
    place, _ = _invert(within, rest)
    return (block * BLOCK + place).squeeze(-1).clamp(max=vocabulary - 1)


def _block_masses(probabilities: Tensor) -> Tensor:
    """[B, V] -> fp64 [B, V / BLOCK, rounded up]: the probability of each block."""
    whole = probabilities.shape[-1] // BLOCK * BLOCK
    masses = probabilities[:, :whole].unflatten(1, (-1, BLOCK)).sum(dim=-1)
    rest = probabilities[:, whole:].sum(dim=-1, keepdim=True)
    return torch.cat([masses, rest], dim=-1).double()


def _invert(masses: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The first place [B, 1] where the sum of `masses` [B, N] exceeds `targets` [B, 1], and what it leaves of them.

    A target that rounding has carried to the end falls to the last place that has any mass; where masses are NaN, to
    the last place.
    """
    cumulative = masses.cumsum(dim=-1)
    below_the_end = torch.nextafter(cumulative[:, -1:], torch.zeros_like(targets))
    targets = torch.minimum(targets, below_the_end)
    place = torch.searchsorted(cumulative, targets, right=True).clamp(max=masses.shape[-1] - 1)
    return place, targets - F.pad(cumulative, (1, 0)).gather(1, place)
