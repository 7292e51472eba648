"""What the cached decoder believed when it drew each token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from engine_models import word_tokenizer
from rlhf_engine import generation
from rlhf_engine.config import Precision
from rlhf_engine.decoding import sampling
from rlhf_engine.decoding.sampler import choose_tokens, keyed_uniforms
from rlhf_engine.models import compute_precision
from rlhf_engine.rollout import Rollout
from small_ppo import CPU, EOS, HOOKS, PAD

SEED, RESPONSE_TOKENS = 3, 6
TOKENS = [[5, 6, 7, 8], [9], [10, 11], [12, 13, 14, 15, 16], [17, 18], [19, 20, 21], [22], [23, 24, 25]]


def rolled_out(policy: Any, prompts: list[list[int]] = TOKENS, **changes: Any) -> Rollout:
    settings: dict[str, Any] = {
        "episodes": range(len(prompts)), "seed": SEED, "response_tokens": RESPONSE_TOKENS, "temperature": 1.0,
        "eos_id": EOS, "pad_id": PAD, "batch_size": 8, "hooks": HOOKS,
    }  # fmt: skip
    return generation.generate_rollout(policy, prompts, **(settings | changes))


@contextmanager
def watched_sampling(seed: int, rows: int, length: int) -> Iterator[Tensor]:
    """The whole distribution log pi(. | s) that each token of episodes 0, 1, ... is drawn from, [B, R, V].

    A call to the sampler is led back to its rows by their uniform numbers; NaN where it was not asked. Greedy decoding
    is recorded at temperature 1.
    """
    uniforms = keyed_uniforms(seed, range(rows), length)
    places = {u: divmod(i, length) for i, u in enumerate(uniforms.flatten().tolist())}
    beliefs = torch.full((rows, length, len(word_tokenizer())), torch.nan)

    def remember(logits: Tensor, uniforms: Tensor, temperature: float) -> Tensor:
        logprobs = (logits.float() / (temperature or 1.0)).log_softmax(dim=-1)
        for uniform, row in zip(uniforms.tolist(), logprobs, strict=True):
            beliefs[places[uniform]] = row
        return choose_tokens(logits, uniforms, temperature)

    with patch.object(sampling, "choose_tokens", remember):
        yield beliefs


def decoded(policy: Any, *, temperature: float, compute: Precision = "float32") -> tuple[Rollout, Tensor]:
    """Responses to TOKENS, and the distributions that they were drawn from, [B, R, V]."""
    with watched_sampling(SEED, len(TOKENS), RESPONSE_TOKENS) as beliefs, compute_precision(CPU, compute):
        return rolled_out(policy, temperature=temperature), beliefs


def chosen(beliefs: Tensor, rows: Rollout) -> Tensor:
    """log pi(a_t | s_t) [N] of the valid tokens of `rows`, from beliefs [B, R, V]."""
    return beliefs[rows.response_mask].gather(1, rows.response_tokens[rows.response_mask][:, None]).squeeze(1)
