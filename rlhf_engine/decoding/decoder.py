"""A model that reads prompts, then one token a row at a time: what sampling needs of it, and our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from rlhf_engine.data.batching import right_pad
from rlhf_engine.decoding.blocks import (
    Step,
    attend_prompts,
    attend_prompts_last,
    behind_attention,
    last_tokens,
    read_token,
    visible,
)
from rlhf_engine.decoding.weights import Network
from rlhf_engine.hooks import Hooks
from rlhf_engine.masking import at_least_float32

PROMPT_TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 32768}
"""So many tokens of prompts pass through the blocks at once: they keep the device busy, more would cost memory."""
REACH = {"cpu": 1, "cuda": 128}
"""Attention reaches over a multiple of so many places: one captured step serves as many tokens."""


class Decoder(Protocol):
    """Holds the rows under way. `capturable`: `advance` changes tensors in place and asks nothing of the host."""

    capturable: bool

    def begin(self, prompts: Sequence[list[int]], hooks: Hooks) -> Tensor:
        """Logits [B, V] of the token behind each prompt, for new rows."""

    def reach(self, sampled: int) -> int:
        """How far into the cache the step behind so many sampled tokens looks."""

    def advance(self, tokens: Tensor, reach: int) -> Tensor:
        """Logits [B, V] of the token behind `tokens` [B]."""

    def keep(self, index: Tensor) -> None:
        """Goes on with the rows at `index` [b], in that order."""


class CachedDecoder:
    """Our own, with a cache allocated once for up to `rows` rows of `places` tokens."""

    capturable = True

    def __init__(self, network: Network, rows: int, places: int) -> None:
        self.network = network
        heads = network.blocks[0].heads
        size = (len(network.blocks), rows, 2 * heads.keys, places, heads.size)
        # Zeros: places that a mask hides are multiplied by 0, which would not hide a NaN.
        self._cache = torch.zeros(size, dtype=network.cache_dtype, device=network.device)
        self._rotations = network.rotations(places)
        self._lengths = torch.zeros(rows, dtype=torch.long, device=network.device)
        self._longest, self._masked = 0, True

    @property
    def _device(self) -> torch.device:
        return self.network.device

    def begin(self, prompts: Sequence[list[int]], hooks: Hooks) -> Tensor:
        """A prompt that several rows share is read once. Before each part of the prompts is a safe point."""
        lengths = [len(prompt) for prompt in prompts]
        self._longest = max(lengths)
        self._masked = min(lengths) < self._longest or REACH[self._device.type] > 1
        self._lengths[: len(prompts)] = torch.tensor(lengths, device=self._device)
        numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        numbered = torch.tensor([numbers[tuple(prompt)] for prompt in prompts], device=self._device)
        at_once = max(PROMPT_TOKENS_AT_ONCE[self._device.type] // max(self._longest, 1), 1)
        states = []
        for start in range(0, len(numbers), at_once):
            hooks.token_point()
            part = list(numbers)[start : start + at_once]
            rows = ((numbered >= start) & (numbered < start + len(part))).nonzero().squeeze(1)
            states.append(self._read(part, rows, numbered[rows] - start))
        logits = self._logits(torch.cat(states))
        return logits if len(numbers) == len(prompts) else logits[numbered]

    def _read(self, prompts: Sequence[tuple[int, ...]], rows: Tensor, source: Tensor) -> Tensor:
        """States [b, hidden] behind b prompts; row `rows[i]` of the cache gets what prompt `source[i]` leaves."""
        network, dtype = self.network, self.network.attention_dtype
        tokens = right_pad(prompts, 0)[0].to(self._device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self._device)
        places = torch.arange(tokens.shape[1], device=self._device)
        rotation = None if self._rotations is None else self._rotations[places].unsqueeze(1)
        with torch.autocast(self._device.type, enabled=False):
            x = self._embedded(tokens, places)
            for block, cache in zip(network.blocks[:-1], self._cache, strict=False):
                attended = _kept(attend_prompts(block, x, rotation, dtype), cache, rows, source)
                x = behind_attention(block, x, attended)
            last = attend_prompts_last(network.blocks[-1], x, rotation, lengths, dtype)
            attended = _kept(last, self._cache[-1], rows, source)
            return behind_attention(network.blocks[-1], last_tokens(x, lengths), attended)

    def reach(self, sampled: int) -> int:
        step = REACH[self._device.type]
        return min(-(-(self._longest + sampled) // step) * step, self._cache.shape[3])

    def advance(self, tokens: Tensor, reach: int) -> Tensor:
        places = self._lengths[: len(tokens)]
        step = Step(
            rows=torch.arange(len(tokens), device=self._device),
            places=places,
            rotation=None if self._rotations is None else self._rotations[places].unsqueeze(1),
            mask=visible(places + 1, reach) if self._masked else None,
            dtype=self.network.attention_dtype,
        )
        with torch.autocast(self._device.type, enabled=False):
            x = self._embedded(tokens, places)
            for block, cache in zip(self.network.blocks, self._cache[:, : len(tokens), :, :reach], strict=True):
                x = read_token(block, x, cache, step)
            places += 1
        return self._logits(x)

    def keep(self, index: Tensor) -> None:
        moved = (index != torch.arange(len(index), device=index.device)).nonzero().squeeze(1)
        for part in (*self._cache, self._lengths):
            part[moved] = part[index[moved]]

    def _embedded(self, tokens: Tensor, places: Tensor) -> Tensor:
        embedded = at_least_float32(self.network.embedding[tokens])
        learned = self.network.position_embedding
        return embedded if learned is None else embedded + at_least_float32(learned[places])

    def _logits(self, states: Tensor) -> Tensor:
        with torch.autocast(self._device.type, enabled=False):
            return self.network.head(self.network.final_norm(states))


def _kept(attended: tuple[Tensor, Tensor], cache: Tensor, rows: Tensor, source: Tensor) -> Tensor:
    """What attention gave; row `rows[i]` of the cache keeps keys and values of prompt `source[i]`."""
    states, keys_values = attended
    cache[rows, :, : keys_values.shape[2]] = keys_values.to(cache.dtype)[source]
    return states
