"""Responses of a policy to prompts, sampled in batches; how a batch is decoded: decoding/.

The noise of each token is keyed by (seed, episode, token), so that batch size, order and dropped rows can't shift it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_engine.data.batching import left_pad
from rlhf_engine.decoding.decoder import CachedDecoder, Decoder
from rlhf_engine.decoding.families import laid_out
from rlhf_engine.decoding.sampler import keyed_uniforms
from rlhf_engine.decoding.sampling import Sampling
from rlhf_engine.decoding.transformers_decoder import TransformersDecoder
from rlhf_engine.hooks import Hooks
from rlhf_engine.rollout import Rollout
from rlhf_engine.sharding.state import gathered


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


def decoder_of(model: PreTrainedModel, rows: int, places: int) -> Decoder:
    """For up to `rows` rows of `places` tokens, in the precision of autocast where that is on."""
    kind = model.device.type
    network = laid_out(model, torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None)
    return CachedDecoder(network, rows, places) if network else TransformersDecoder(model)


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
    with gathered(model), evaluating(model), torch.no_grad():
        if missing:
            batch_size = min(batch_size, len(missing))
            decoder = decoder_of(model, batch_size, len(prompts[missing[-1]]) + response_tokens)
            sampling = Sampling(
                decoder,
                rows=batch_size,
                response_tokens=response_tokens,
                temperature=temperature,
                eos_id=eos_id,
                device=device,
            )
            for start in range(0, len(missing), batch_size):
                rows = missing[start : start + batch_size]
                responses.add(rows, sampling.sample([prompts[i] for i in rows], uniforms[rows], hooks))
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
