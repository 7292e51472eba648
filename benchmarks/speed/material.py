"""Models with random weights and rows of random words, on disk, where every contender finds the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from benchmarks.speed.endings import end_responses, hazard
from benchmarks.speed.task import COMPARISONS, DEMONSTRATIONS, POLICY, REWARD_MODEL, Shape
from benchmarks.tiny_models import CPU, tokenizer
from rlhf_engine.checkpoint import save_weights
from rlhf_engine.config import ModelConfig
from rlhf_engine.models import load_policy
from rlhf_engine.scalar_models import load_scalar_model

ROWS = 256
FIRST_WORD = 3


def build_material(folder: Path, shape: Shape) -> None:
    """A policy, a reward model, demonstrations and comparisons, unless they are there."""
    if folder.exists():
        return
    folder.mkdir(parents=True)
    words = word_tokenizer(shape.vocabulary)
    torch.manual_seed(0)
    scratch = ModelConfig(init=shape.init)
    policy = load_policy(scratch, words, CPU)
    if shape.mean_response:
        end_responses(policy, words.eos_token_id, hazard(shape.mean_response, shape.response))
    save_weights(policy, words, folder / POLICY)
    save_weights(load_scalar_model(scratch, words, CPU), words, folder / REWARD_MODEL)
    rows = list(_rows(shape))
    demonstrations = [{"prompt": prompt, "summary": chosen} for prompt, chosen, _ in rows]
    comparisons = [{"prompt": prompt, "chosen": chosen, "rejected": rejected} for prompt, chosen, rejected in rows]
    for name, records in ((DEMONSTRATIONS, demonstrations), (COMPARISONS, comparisons)):
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))


def word_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """A token a word."""
    words = tokenizer(vocabulary)
    words.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.padding_side = "left"
    return words


def _rows(shape: Shape) -> Iterator[tuple[str, str, str]]:
    generator = torch.Generator().manual_seed(0)
    for row in range(ROWS):
        prompt_length = shape.prompts[row % len(shape.prompts)] if shape.prompts else shape.prompt
        prompt, *responses = (
            torch.randint(FIRST_WORD, shape.vocabulary, (length,), generator=generator)
            for length in (prompt_length, shape.response - 1, shape.response - 1)
        )
        yield _text(prompt), _text(responses[0]), _text(responses[1])


def _text(tokens: Tensor) -> str:
    return " ".join(f"w{token - FIRST_WORD}" for token in tokens.tolist())
