"""Batched sampling with a key-value cache. Rows that have ended are dropped from the batch.

The noise of each token is keyed by (seed, episode, token), so that batch size, order and dropped rows can't shift it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from rlhf_engine.data.batching import left_pad
from rlhf_engine.hooks import Hooks
from rlhf_engine.models import lm_head_weight, position_ids_of
from rlhf_engine.rollout import Rollout


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
    """Inverse-CDF sampling over the whole vocabulary, logits [B, V] and uniforms [B] -> tokens [B]; greedy at 0."""
    if temperature == 0.0:
        return logits.argmax(dim=-1)
    cumulative = (logits.float() / temperature).softmax(dim=-1).cumsum(dim=-1)
    thresholds = (uniforms.to(cumulative.dtype).to(cumulative.device) * cumulative[:, -1]).unsqueeze(-1)
    chosen = torch.searchsorted(cumulative, thresholds, right=True).squeeze(-1)
    return chosen.clamp(max=logits.shape[-1] - 1)


class _Decoding:
    """The rows still being written: their cache, mask and last token."""

    def __init__(self, model: PreTrainedModel, prompt_tokens: Tensor, prompt_mask: Tensor) -> None:
        self.model, self.cache = model, DynamicCache(config=model.config)
        self.rows = torch.arange(len(prompt_tokens), device=prompt_tokens.device)
        self.mask = prompt_mask
        self.inputs = prompt_tokens.masked_fill(~prompt_mask, 0)
        self.positions = position_ids_of(prompt_mask)

    def next_logits(self) -> Tensor:
        """[rows, V] logits of the next token, advancing the cache."""
        output = self.model.base_model(
            input_ids=self.inputs,
            attention_mask=self.mask.long(),
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        last = output.last_hidden_state[:, -1]
        logits: Tensor = last @ lm_head_weight(self.model).to(last.dtype).T
        return logits

    def append(self, tokens: Tensor, keep: Tensor) -> None:
        """Adds one token to each row; rows where `keep` is False leave the batch once they are an eighth of it."""
        if (~keep).sum() * 8 >= len(keep):
            index = keep.nonzero().squeeze(-1)
            self.cache.batch_select_indices(index)
            self.rows, self.mask, self.positions, tokens = (
                part[index] for part in (self.rows, self.mask, self.positions, tokens)
            )
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        self.inputs, self.positions = tokens.unsqueeze(-1), self.positions[:, -1:] + 1


@torch.no_grad()
def sample_tokens(
    model: PreTrainedModel,
    prompt_tokens: Tensor,
    prompt_mask: Tensor,
    uniforms: Tensor,
    *,
    temperature: float,
    eos_id: int,
    hooks: Hooks,
) -> Tensor:
    """Sampled tokens [B, R] for left-padded prompts [B, P] and uniforms [B, R]; EOS repeated after a row's end."""
    sampled = torch.full(uniforms.shape, eos_id, dtype=torch.long, device=prompt_tokens.device)
    decoding = _Decoding(model, prompt_tokens, prompt_mask)
    ended = torch.zeros(len(prompt_tokens), dtype=torch.bool, device=prompt_tokens.device)
    for t in range(uniforms.shape[1]):
        hooks.token_point()
        tokens = choose_tokens(decoding.next_logits(), uniforms[decoding.rows.cpu(), t], temperature)
        tokens = torch.where(ended[decoding.rows], eos_id, tokens)
        sampled[decoding.rows, t] = tokens
        ended[decoding.rows] |= tokens == eos_id
        if bool(ended.all()):
            break
        decoding.append(tokens, keep=~ended[decoding.rows])
    return sampled


@dataclass(frozen=True)
class SampledResponses:
    """Sampled tokens [B, R] as they come, `batch_size` rows at a time; `done` [B]: the rows that are sampled."""

    tokens: Tensor
    done: Tensor
    batch_size: int

    @classmethod
    def none_yet(cls, rows: int, response_tokens: int, batch_size: int, device: torch.device) -> Self:
        tokens = torch.zeros(rows, response_tokens, dtype=torch.long, device=device)
        return cls(tokens, torch.zeros(rows, dtype=torch.bool), batch_size)

    def add(self, rows: Sequence[int], tokens: Tensor) -> None:
        """Takes in the tokens [b, R] of some rows."""
        self.tokens[rows] = tokens
        self.done[rows] = True

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint, by name."""
        return {"tokens": self.tokens, "done": self.done, "batch_size": torch.tensor(self.batch_size)}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> Self:
        """The inverse of `tensors`."""
        return cls(tensors["tokens"].to(device), tensors["done"], int(tensors["batch_size"]))


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """The model in evaluation mode, and back again."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def generate_rollout(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    *,
    episodes: Sequence[int],
    seed: int,
    response_tokens: int,
    temperature: float,
    eos_id: int,
    pad_id: int,
    batch_size: int,
    hooks: Hooks,
    responses: SampledResponses | None = None,
) -> Rollout:
    """Responses of `model` to `prompts` (token lists), `batch_size` rows at a time, prompts of like length together.

    `episodes` [B] keys the sampling noise. The rollout keeps the order of `prompts`. What `responses` has already is
    not sampled again; it takes in each batch as it is done.
    """
    device = model.device
    responses = responses or SampledResponses.none_yet(len(prompts), response_tokens, batch_size, device)
    uniforms = keyed_uniforms(seed, episodes, response_tokens)
    by_length = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    missing = [row for row in by_length if not responses.done[row]]
    with evaluating(model):
        for start in range(0, len(missing), batch_size):
            rows = missing[start : start + batch_size]
            tokens, mask = (part.to(device) for part in left_pad([prompts[i] for i in rows], pad_id))
            sampled = sample_tokens(
                model, tokens, mask, uniforms[rows], temperature=temperature, eos_id=eos_id, hooks=hooks
            )
            responses.add(rows, sampled)
    prompt_tokens, prompt_mask = (part.to(device) for part in left_pad(prompts, pad_id))
    return Rollout.of_samples(prompt_tokens, prompt_mask, responses.tokens, eos_id=eos_id, pad_id=pad_id)


def sampled_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    *,
    seed: int,
    response_tokens: int,
    temperature: float,
    batch_size: int,
    hooks: Hooks,
) -> list[str]:
    """The words of one sampled response for each prompt; row i is episode i of `seed`."""
    rollout = generate_rollout(
        model,
        prompts,
        episodes=range(len(prompts)),
        seed=seed,
        response_tokens=response_tokens,
        temperature=temperature,
        eos_id=tokenizer.eos_token_id,
        pad_id=tokenizer.pad_token_id,
        batch_size=batch_size,
        hooks=hooks,
    )
    return response_texts(rollout, tokenizer)


def response_texts(rollout: Rollout, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The words of each response, without end token and outer blanks."""
    rows = zip(rollout.response_tokens, rollout.response_mask, strict=True)
    return [str(tokenizer.decode(tokens[mask], skip_special_tokens=True)).strip() for tokens, mask in rows]
